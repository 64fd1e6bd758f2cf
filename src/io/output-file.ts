import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { type DirectIo, isLocalDisk, OpenFile } from "./direct-io.ts";
import { toLocalIoError } from "./system-error.ts";

/** A file of the output, complete and durable. */
export interface WrittenFile {
	fileName: string;
	byteLength: number;
	sha256: string;
}

/** A file that is made once, in pieces of any order, and then made durable. */
export class OutputFile {
	readonly path: string;
	private readonly file: OpenFile;

	private constructor(path: string, handle: FileHandle) {
		this.path = path;
		this.file = new OpenFile(handle);
	}

	/**
	 * Create a file that does not exist yet; a link in its place is not followed. Its length is not set before
	 * it is written: writes into the hole that would make were slower by a sixth than writes that lengthen it.
	 */
	static async create(
		path: string,
		directIo: DirectIo = "off",
	): Promise<OutputFile> {
		const handle = await open(path, "wx", 0o644).catch((error) => {
			throw toLocalIoError(error, path, "creating");
		});
		const output = new OutputFile(path, handle);
		try {
			if (
				directIo === "on" ||
				(directIo === "auto" && (await isLocalDisk(path)))
			)
				await output.file.bypassCache(path, constants.O_WRONLY);
			return output;
		} catch (error) {
			await output.abandon();
			throw toLocalIoError(error, path, "creating");
		}
	}

	/** Write `bytes`, which may be used again once this resolves. */
	async write(fileOffset: number, bytes: Uint8Array): Promise<void> {
		const done = await this.file
			.transfer(fileOffset, bytes, async (handle, rest, at) => {
				const { bytesWritten } = await handle.write(rest, 0, rest.length, at);
				return bytesWritten;
			})
			.catch((error) => {
				throw toLocalIoError(error, this.path, "writing");
			});
		if (done < bytes.length)
			throw new RangeError(`${this.path}: wrote ${done} of ${bytes.length}`);
	}

	/** Make the file durable and close it. */
	async finish(): Promise<void> {
		try {
			await this.file.buffered.sync();
		} catch (error) {
			// Never tried again: after a failed fsync the pages count as clean although they are not.
			await this.abandon();
			throw toLocalIoError(error, this.path, "flushing");
		}
		await this.file.close().catch((error) => {
			throw toLocalIoError(error, this.path, "closing");
		});
	}

	/** Close without any promise about the content. */
	async abandon(): Promise<void> {
		await this.file.close().catch(() => {});
	}
}
