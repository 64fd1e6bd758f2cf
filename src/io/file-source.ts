import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { FormatError, SourceChangedError } from "../errors.ts";
import type { ByteSource } from "./byte-source.ts";
import { toLocalIoError } from "./system-error.ts";

/** Node aborts the process on reads of 2 GiB. */
const MAX_READ_BYTES = 2 ** 30;

/** A local file, open for reading, that can say whether it is still the file that was opened. */
export interface FileSource extends ByteSource {
	readonly path: string;
	/** @throws {SourceChangedError} where size, times or identity are not those at opening */
	checkUnchanged(): Promise<void>;
	close(): Promise<void>;
}

/**
 * Open a regular file; symbolic links are followed, as in a Hub cache. Must be closed.
 *
 * @throws {FormatError} where it is a folder, pipe or device
 * @throws {LocalIoError}
 */
export async function openFileSource(path: string): Promise<FileSource> {
	let handle: FileHandle | undefined;
	try {
		// Non-blocking, so that opening a pipe nobody writes to does not hang.
		handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
		const identity = await identify(handle);
		if (!identity.isFile)
			throw new FormatError({ where: path, what: "not a regular file" });
		return new LocalFileSource(path, handle, identity);
	} catch (error) {
		await handle?.close();
		throw toLocalIoError(error, path, "opening");
	}
}

interface Identity {
	isFile: boolean;
	byteLength: number;
	/** device, inode, size, modification and change time */
	text: string;
}

async function identify(handle: FileHandle): Promise<Identity> {
	const stat = await handle.stat({ bigint: true });
	return {
		isFile: stat.isFile(),
		byteLength: Number(stat.size),
		text: [stat.dev, stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].join(":"),
	};
}

class LocalFileSource implements FileSource {
	readonly path: string;
	readonly byteLength: number;
	private readonly handle: FileHandle;
	private readonly identity: Identity;

	constructor(path: string, handle: FileHandle, identity: Identity) {
		this.path = path;
		this.handle = handle;
		this.identity = identity;
		this.byteLength = identity.byteLength;
	}

	async read(fileOffset: number, into: Uint8Array): Promise<void> {
		let done = 0;
		while (done < into.length) {
			const length = Math.min(into.length - done, MAX_READ_BYTES);
			const { bytesRead } = await this.handle
				.read(into, done, length, fileOffset + done)
				.catch((error) => {
					throw toLocalIoError(error, this.path, "reading");
				});
			if (bytesRead === 0)
				throw new SourceChangedError({
					where: `${this.path}, byte ${fileOffset + done}`,
					what: "the file ends early",
					expected: `${this.byteLength} bytes`,
					found: `${fileOffset + done}`,
					remedy:
						"It became shorter while it was read: run again when nobody writes to it",
				});
			done += bytesRead;
		}
	}

	async checkUnchanged(): Promise<void> {
		const now = await identify(this.handle);
		if (now.text !== this.identity.text)
			throw new SourceChangedError({
				where: this.path,
				what: "the file changed while it was read",
				remedy: "Run again when nobody writes to it",
			});
	}

	async close(): Promise<void> {
		await this.handle.close();
	}
}
