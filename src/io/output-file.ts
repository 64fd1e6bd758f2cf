import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { toLocalIoError } from "./system-error.ts";

/** A file of the output, complete and durable. */
export interface WrittenFile {
	fileName: string;
	byteLength: number;
	sha256: string;
}

/** A file that is written once, from start to end, and hashed on the way. */
export class OutputFile {
	private readonly path: string;
	private readonly handle: FileHandle;
	private readonly hash = createHash("sha256");
	private written = 0;

	private constructor(path: string, handle: FileHandle) {
		this.path = path;
		this.handle = handle;
	}

	/** Create a file that does not exist yet; a link in its place is not followed. */
	static async create(path: string): Promise<OutputFile> {
		const handle = await open(path, "wx", 0o644).catch((error) => {
			throw toLocalIoError(error, path, "creating");
		});
		return new OutputFile(path, handle);
	}

	/** Bytes written so far. */
	get byteLength(): number {
		return this.written;
	}

	/** Append `bytes`, which may be used again once this resolves. */
	async append(bytes: Uint8Array): Promise<void> {
		const writing = this.write(bytes);
		this.hash.update(bytes); // while the system writes
		await writing;
	}

	private async write(bytes: Uint8Array): Promise<void> {
		let done = 0;
		while (done < bytes.length) {
			const { bytesWritten } = await this.handle
				.write(bytes, done, bytes.length - done, this.written)
				.catch((error) => {
					throw toLocalIoError(error, this.path, "writing");
				});
			done += bytesWritten;
			this.written += bytesWritten;
		}
	}

	/** Make the file durable and close it. @returns its SHA-256 in hex */
	async finish(): Promise<string> {
		try {
			await this.handle.sync();
		} catch (error) {
			// Never tried again: after a failed fsync the pages count as clean although they are not.
			await this.abandon();
			throw toLocalIoError(error, this.path, "flushing");
		}
		await this.handle.close().catch((error) => {
			throw toLocalIoError(error, this.path, "closing");
		});
		return this.hash.digest("hex");
	}

	/** Close without any promise about the content. */
	async abandon(): Promise<void> {
		await this.handle.close().catch(() => {});
	}
}
