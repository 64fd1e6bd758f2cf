import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import path from "node:path";

/** Bytes that can be read from anywhere, however many they are. */
export interface StoredBytes {
	readonly byteLength: number;
	/** the bytes `[begin, end)`, in pieces */
	read(begin: number, end: number): AsyncIterable<Uint8Array>;
}

/** What a file holds: bytes, text in UTF-8, a file of this disk, read when it is asked for, or whatever reads so. */
export type Content = Uint8Array | string | { onDisk: string } | StoredBytes;
/** The files of a repository, by their paths with `/`. */
export type Files = Record<string, Content>;

const PIECE_BYTES = 1 << 16;
/** Of a file on disk, which may be large. */
const DISK_PIECE_BYTES = 1 << 20;

export function bytesOf(content: Uint8Array | string): StoredBytes {
	const bytes =
		typeof content === "string" ? new TextEncoder().encode(content) : content;
	return {
		byteLength: bytes.byteLength,
		async *read(begin, end) {
			for (let at = begin; at < end; at += PIECE_BYTES)
				yield bytes.subarray(at, Math.min(end, at + PIECE_BYTES));
		},
	};
}

/**
 * Bytes of which the second half does not come before the gate opens, and one may be spoilt: where all of them are
 * asked for at once, and only once the gate is armed.
 */
export function behindGate(bytes: Uint8Array) {
	let open = () => {};
	const opened = new Promise<void>((resolve) => {
		open = resolve;
	});
	const gate = { isArmed: false, open, spoiltByte: null as number | null };
	const { byteLength } = bytes;
	const content: StoredBytes = {
		byteLength,
		async *read(begin, end) {
			const isGated = gate.isArmed && end - begin === byteLength;
			const sent = Uint8Array.from(bytes);
			const { spoiltByte } = gate;
			if (isGated && spoiltByte !== null)
				sent[spoiltByte] = (sent[spoiltByte] as number) ^ 1;
			const whole = bytesOf(sent);
			const middle = Math.min(Math.max(begin, byteLength / 2), end);
			yield* whole.read(begin, middle);
			if (isGated) await opened;
			yield* whole.read(middle, end);
		},
	};
	return Object.assign(gate, { content });
}

/** @throws the system's error where the file on disk cannot be read */
export async function openContent(content: Content): Promise<StoredBytes> {
	if (typeof content === "string" || content instanceof Uint8Array)
		return bytesOf(content);
	if ("read" in content) return content;
	const { onDisk } = content;
	return {
		byteLength: (await stat(onDisk)).size,
		async *read(begin, end) {
			if (begin < end)
				yield* createReadStream(onDisk, {
					...{ start: begin, end: end - 1, highWaterMark: DISK_PIECE_BYTES },
				});
		},
	};
}

/** Every file below a folder, to be read from the disk when it is asked for. */
export async function filesOfFolder(folder: string): Promise<Files> {
	const files: Files = {};
	const entries = await readdir(folder, { recursive: true });
	for (const entry of entries.sort()) {
		const onDisk = path.join(folder, entry);
		if ((await stat(onDisk)).isFile())
			files[entry.split(path.sep).join("/")] = { onDisk };
	}
	return files;
}

/** The bytes `[begin, end)` as a whole of their own. */
export function sliceOf(
	bytes: StoredBytes,
	begin: number,
	end: number,
): StoredBytes {
	return {
		byteLength: end - begin,
		read: (from, to) => bytes.read(begin + from, begin + to),
	};
}

export async function gather(bytes: StoredBytes): Promise<Buffer> {
	const pieces: Uint8Array[] = [];
	for await (const piece of bytes.read(0, bytes.byteLength)) pieces.push(piece);
	return Buffer.concat(pieces);
}

/** The id git gives a file: the SHA-1 of its length and its bytes. */
export async function gitBlobId(bytes: StoredBytes): Promise<string> {
	const hash = createHash("sha1").update(`blob ${bytes.byteLength}\0`);
	for await (const piece of bytes.read(0, bytes.byteLength)) hash.update(piece);
	return hash.digest("hex");
}

export async function sha256Of(bytes: StoredBytes): Promise<string> {
	const hash = createHash("sha256");
	for await (const piece of bytes.read(0, bytes.byteLength)) hash.update(piece);
	return hash.digest("hex");
}
