import { createHash } from "node:crypto";
import { throwIfAborted } from "../errors.ts";
import type { ByteSource } from "./byte-source.ts";

/** A gap this small is read to keep up: a header, or a tensor the merge has no use for. */
const MAX_CATCH_UP_BYTES = 2 ** 20;
const READ_BYTES = 2 ** 22;

/**
 * A source that hashes its file from start to end out of the very bytes that pass through, as far as
 * they are read in order; what was never read in order is read again at the end. One read at a time.
 */
export class DigestingSource implements ByteSource {
	readonly byteLength: number;
	private readonly source: ByteSource;
	private readonly hash = createHash("sha256");
	private hashed = 0;

	constructor(source: ByteSource) {
		this.source = source;
		this.byteLength = source.byteLength;
	}

	async read(fileOffset: number, into: Uint8Array): Promise<void> {
		const gap = fileOffset - this.hashed;
		if (gap > 0 && gap <= MAX_CATCH_UP_BYTES) await this.hashUpTo(fileOffset);
		await this.source.read(fileOffset, into);
		if (fileOffset === this.hashed) {
			this.hash.update(into);
			this.hashed += into.length;
		}
	}

	/**
	 * SHA-256 of the whole file, in hex; to be called once, after the last read.
	 *
	 * @throws {InterruptedError} once `signal` is aborted: what is left to read may be the whole file
	 */
	async digest(signal?: AbortSignal): Promise<string> {
		await this.hashUpTo(this.byteLength, signal);
		return this.hash.digest("hex");
	}

	private async hashUpTo(end: number, signal?: AbortSignal): Promise<void> {
		const buffer = new Uint8Array(Math.min(READ_BYTES, end - this.hashed));
		while (this.hashed < end) {
			throwIfAborted(signal, "checksums of the inputs");
			const bytes = buffer.subarray(0, end - this.hashed);
			await this.source.read(this.hashed, bytes);
			this.hash.update(bytes);
			this.hashed += bytes.length;
		}
	}
}
