import { createHash, type Hash } from "node:crypto";
import {
	type FileHandle,
	open,
	readdir,
	rename,
	rm,
	stat,
} from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";
import { throwIfAborted } from "../errors.ts";
import { isRunning } from "../io/owner.ts";
import {
	failing,
	systemErrorCode,
	toLocalIoError,
} from "../io/system-error.ts";

const PIECE_BYTES = 2 ** 20;

/** What a blob must be: `oid` is its name in the cache, and its checksum. */
export interface BlobIdentity {
	oid: string;
	byteLength: number;
	/** SHA-256 of the bytes; otherwise the id of a git blob, which is of its length too */
	isLfs: boolean;
}

/**
 * A blob on its way into the cache: `blobs/<oid>.md-<host>-<pid>.incomplete`. It is written in order and hashed on
 * the way, so that its length is all there is to know to go on after a crash. The name is of this process alone:
 * what another left when it died is taken over by renaming, which only one can win. Must be closed.
 */
export class PartialBlob {
	/** how far it is written */
	byteLength = 0;
	private readonly file: string;
	private readonly handle: FileHandle;
	private readonly identity: BlobIdentity;
	private hash: Hash;

	private constructor(
		file: string,
		handle: FileHandle,
		identity: BlobIdentity,
	) {
		this.file = file;
		this.handle = handle;
		this.identity = identity;
		this.hash = hashOf(identity);
	}

	/** Bytes of a blob that processes which are gone have left, to be gone on with. */
	static async bytesLeft(folder: string, oid: string): Promise<number> {
		let most = 0;
		for (const name of await leftOf(folder, oid)) {
			const stats = await stat(path.join(folder, name)).catch(() => null);
			most = Math.max(most, stats?.size ?? 0);
		}
		return most;
	}

	/**
	 * Begin a blob, or go on where a process that is gone has stopped: all that is there is hashed first.
	 *
	 * @throws {LocalIoError} @throws {InterruptedError}
	 */
	static async open(
		folder: string,
		identity: BlobIdentity,
		signal?: AbortSignal,
	): Promise<PartialBlob> {
		const file = path.join(folder, partialName(identity.oid));
		try {
			await adopt(folder, identity.oid, file);
			const handle = await open(file, "r+").catch((error) => {
				if (systemErrorCode(error) === "ENOENT") return open(file, "wx+");
				throw error;
			});
			const partial = new PartialBlob(file, handle, identity);
			await partial.readBack(signal).catch(async (error) => {
				await partial.close();
				throw error;
			});
			return partial;
		} catch (error) {
			throw toLocalIoError(error, file, "opening");
		}
	}

	/** Add bytes; they are hashed while they are written. */
	async write(bytes: Uint8Array): Promise<void> {
		const written = this.store(bytes);
		this.hash.update(bytes);
		await written;
		this.byteLength += bytes.length;
	}

	private async store(bytes: Uint8Array): Promise<void> {
		for (let done = 0; done < bytes.length; ) {
			const { bytesWritten } = await this.handle
				.write(bytes, done, bytes.length - done, this.byteLength + done)
				.catch(failing(this.file, "writing"));
			done += bytesWritten;
		}
	}

	/** Once it is whole: null where its checksum is right, else what it is instead. */
	wrongDigest(): string | null {
		const found = this.hash.copy().digest("hex");
		return found === this.identity.oid ? null : found;
	}

	/** Forget all that was written. */
	async restart(): Promise<void> {
		await this.handle.truncate(0).catch(failing(this.file, "emptying"));
		this.byteLength = 0;
		this.hash = hashOf(this.identity);
	}

	/** Make it durable, close it, and give it its name. */
	async publish(blob: string): Promise<void> {
		try {
			await this.handle.sync().catch(async (error) => {
				// Never tried again: after a failed fsync the pages count as clean although they are not.
				await this.discard();
				throw error;
			});
			await this.handle.close();
			await rename(this.file, blob);
		} catch (error) {
			throw toLocalIoError(error, blob, "publishing");
		}
	}

	async discard(): Promise<void> {
		await rm(this.file, { force: true }).catch(() => {});
	}

	async close(): Promise<void> {
		await this.handle.close().catch(() => {});
	}

	private async readBack(signal: AbortSignal | undefined): Promise<void> {
		const { size } = await this.handle.stat();
		if (size > this.identity.byteLength) return this.restart();
		const buffer = new Uint8Array(PIECE_BYTES);
		while (this.byteLength < size) {
			throwIfAborted(signal, this.file);
			const { bytesRead } = await this.handle.read(
				...([buffer, 0, buffer.length, this.byteLength] as const),
			);
			if (bytesRead === 0) return;
			this.hash.update(buffer.subarray(0, bytesRead));
			this.byteLength += bytesRead;
		}
	}
}

/** The hash whose digest, in hex, is a blob's name. */
export function hashOf({ oid, byteLength, isLfs }: BlobIdentity): Hash {
	const hash = createHash(oid.length === 64 ? "sha256" : "sha1");
	return isLfs ? hash : hash.update(`blob ${byteLength}\0`);
}

const HOST = hostname().replace(/[^\w.]/g, "_");

function partialName(oid: string): string {
	return `${oid}.md-${HOST}-${process.pid}.incomplete`;
}

/** Take over one of what processes of this machine have left of a blob when they died. */
async function adopt(folder: string, oid: string, file: string): Promise<void> {
	for (const name of await leftOf(folder, oid)) {
		if (path.join(folder, name) === file) continue;
		const won = await rename(path.join(folder, name), file).then(
			() => true,
			(error) => {
				if (systemErrorCode(error) === "ENOENT") return false;
				throw error;
			},
		);
		if (won) return;
	}
}

const PARTIAL = /^([0-9a-f]+)\.md-(.+)-(\d+)\.incomplete$/;

/** What is there of a blob that no other live process writes. */
async function leftOf(folder: string, oid: string): Promise<string[]> {
	const left: string[] = [];
	for (const name of await readdir(folder)) {
		const [, of, host, text] = PARTIAL.exec(name) ?? [];
		if (of !== oid || host !== HOST) continue;
		const pid = Number(text);
		if (pid === process.pid || !(await isRunning(pid))) left.push(name);
	}
	return left;
}
