import { constants, readSync } from "node:fs";
import { type FileHandle, open, statfs } from "node:fs/promises";
import { systemErrorCode } from "./system-error.ts";

/** File offset, length and address of a direct transfer are multiples of this, in bytes. */
export const DIRECT_ALIGNMENT = 4096;

/** Whether files bypass the page cache: `auto` where that is faster, by evidence. */
export const DIRECT_IO = ["auto", "on", "off"] as const;
export type DirectIo = (typeof DIRECT_IO)[number];

/**
 * File systems where a cache is all there is, where it is on another machine, or which fill holes with zeros. Linux's
 * numbers.
 */
const BUFFERED_FILE_SYSTEMS = new Set([
	0x01021994, // tmpfs
	0x858458f6, // ramfs
	0x6969, // NFS
	0xff534d42, // CIFS
	0xfe534d42, // SMB2
	0x65735546, // FUSE
	0x01021997, // 9p
	0x00c36400, // Ceph
	0x4d44, // FAT
	0x2011bab0, // exFAT
]);

/** Samples of a file that tell whether it is in the page cache. */
const SAMPLES = 16;
const SAMPLE_BYTES = 4096;
/**
 * A page that is in the cache takes as long as when it is read again: a few microseconds, more on a busy
 * machine. A disk takes many times as long.
 */
const CACHED_RATIO = 3;
const CACHED_SLACK_SECONDS = 15e-6;

/** Whether a file system is one where direct I/O may win. */
export async function isLocalDisk(path: string): Promise<boolean> {
	const { type } = await statfs(path);
	return !BUFFERED_FILE_SYSTEMS.has(type);
}

/** Whether a page was in the cache, by the seconds that its first read took and the next, which finds it there. */
export function cameFromCache(first: number, again: number): boolean {
	return first < CACHED_RATIO * again + CACHED_SLACK_SECONDS;
}

/** Whether most of a file lies in the page cache, by the time that pages spread over it take. */
export function isCached(handle: FileHandle, byteLength: number): boolean {
	const page = new Uint8Array(SAMPLE_BYTES);
	const timeToRead = (at: number) => {
		const started = performance.now();
		readSync(handle.fd, page, 0, SAMPLE_BYTES, at);
		return (performance.now() - started) / 1000;
	};
	let cached = 0;
	for (let i = 0; i < SAMPLES; i++) {
		// From the end to the start, so that the system does not read ahead.
		const share = (SAMPLES - i - 0.5) / SAMPLES;
		const at = Math.floor((byteLength * share) / SAMPLE_BYTES) * SAMPLE_BYTES;
		const [first, again] = [timeToRead(at), timeToRead(at)];
		if (cameFromCache(first, again)) cached++;
	}
	return cached * 2 > SAMPLES;
}

/** One system call. @returns how many bytes it moved */
export type Transfer = (
	handle: FileHandle,
	bytes: Uint8Array,
	fileOffset: number,
) => Promise<number>;

/** A file that is open through the page cache, and past it where that was chosen. */
export class OpenFile {
	readonly buffered: FileHandle;
	private direct: FileHandle | null = null;

	constructor(buffered: FileHandle) {
		this.buffered = buffered;
	}

	get isDirect(): boolean {
		return this.direct !== null;
	}

	/** From now on transfer past the page cache what is aligned for it. @param flags as for opening */
	async bypassCache(path: string, flags: number): Promise<void> {
		if (constants.O_DIRECT === undefined) return;
		const handle = await open(path, flags | constants.O_DIRECT).catch(
			() => null, // the file system cannot
		);
		if (handle === null) return;
		try {
			// Not before it is known: nothing must be read from another file meanwhile.
			if (await isSameFile(handle, this.buffered)) this.direct = handle;
		} finally {
			if (this.direct !== handle) await handle.close();
		}
	}

	/**
	 * Transfer `bytes` wholly: the aligned part directly, the tail through the cache.
	 *
	 * @param throughCache  all of it
	 * @returns how many bytes were moved; fewer than asked only where a call moved none
	 */
	async transfer(
		fileOffset: number,
		bytes: Uint8Array,
		transfer: Transfer,
		throughCache = false,
	): Promise<number> {
		let done = 0;
		while (done < bytes.length) {
			const rest = bytes.subarray(done, done + MAX_CALL_BYTES);
			const direct = throughCache ? null : this.direct;
			const length = direct ? directLength(fileOffset + done, rest) : 0;
			const handle = length > 0 && direct ? direct : this.buffered;
			const moved = await transfer(
				handle,
				rest.subarray(0, length || rest.length),
				fileOffset + done,
			).catch(async (error) => {
				if (handle === this.buffered || systemErrorCode(error) !== "EINVAL")
					throw error;
				await this.closeDirect(); // it opens so, but does not read so
				return null;
			});
			if (moved === 0) return done;
			done += moved ?? 0;
		}
		return done;
	}

	async close(): Promise<void> {
		await this.closeDirect();
		await this.buffered.close();
	}

	private async closeDirect(): Promise<void> {
		const { direct } = this;
		this.direct = null;
		await direct?.close();
	}
}

/** Node aborts the process on reads of 2 GiB. */
const MAX_CALL_BYTES = 2 ** 30;

/** How many bytes at the start of a transfer can go directly; the rest goes through the cache. */
function directLength(fileOffset: number, bytes: Uint8Array): number {
	if (fileOffset % DIRECT_ALIGNMENT !== 0) return 0;
	if (bytes.byteOffset % DIRECT_ALIGNMENT !== 0) return 0;
	return bytes.length - (bytes.length % DIRECT_ALIGNMENT);
}

async function isSameFile(a: FileHandle, b: FileHandle): Promise<boolean> {
	const [x, y] = [
		await a.stat({ bigint: true }),
		await b.stat({ bigint: true }),
	];
	return x.dev === y.dev && x.ino === y.ino;
}
