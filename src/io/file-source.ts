import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { FormatError, SourceChangedError } from "../errors.ts";
import type { ByteSource } from "./byte-source.ts";
import {
	type DirectIo,
	isCached,
	isLocalDisk,
	OpenFile,
	type Transfer,
} from "./direct-io.ts";
import { SecondReads } from "./second-reads.ts";
import { failing, systemErrorCode, toLocalIoError } from "./system-error.ts";

/** Lets the page cache be rid of a stretch of a file. */
export type DropPages = (
	fd: number,
	fileOffset: number,
	byteLength: number,
) => void;

/** A file, open for reading, that can say whether it is still the file that was opened. */
export interface FileSource extends ByteSource {
	/** of a file that is elsewhere, what to call it in messages */
	readonly path: string;
	/** tells it from any other file of its machine, and from itself after a change */
	readonly identity: string;
	/** what its content is called, where that is known without reading: its SHA-256, or the id of a git blob */
	readonly contentId?: string | undefined;
	/** whether it is read past the page cache */
	readonly isDirect: boolean;
	/**
	 * Choose how the file is read from now on; by evidence where `auto`.
	 *
	 * @param dropPages  for a file that is not in the page cache: lets go what was read twice through it
	 */
	chooseReading(
		directIo: DirectIo,
		dropPages?: DropPages | null,
	): Promise<void>;
	/** @throws {SourceChangedError} where size, times or identity are not those at opening */
	checkUnchanged(): Promise<void>;
	close(): Promise<void>;
}

/**
 * Open a regular file; symbolic links are followed, as in a Hub cache. Must be closed.
 *
 * @param contentId  what its content is called, where that is known
 * @throws {FormatError} where it is a folder, pipe or device
 * @throws {LocalIoError}
 */
export async function openFileSource(
	path: string,
	contentId?: string,
): Promise<FileSource> {
	let handle: FileHandle | undefined;
	try {
		// Non-blocking, so that opening a pipe nobody writes to does not hang.
		handle = await open(path, READ_FLAGS);
		const identity = await identify(handle);
		if (!identity.isFile) throw noRegularFile(path);
		return new LocalFileSource(path, contentId, handle, identity);
	} catch (error) {
		await handle?.close();
		// A socket cannot even be opened.
		if (systemErrorCode(error) === "ENXIO") throw noRegularFile(path);
		throw toLocalIoError(error, path, "opening");
	}
}

function noRegularFile(where: string): FormatError {
	return new FormatError({ where, what: "not a regular file" });
}

const READ_FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

interface Identity {
	isFile: boolean;
	byteLength: number;
	/** inode, size, modification and change time */
	text: string;
	device: bigint;
}

async function identify(handle: FileHandle): Promise<Identity> {
	const stat = await handle.stat({ bigint: true });
	return {
		isFile: stat.isFile(),
		byteLength: Number(stat.size),
		// The number of its device may be another after each start of the machine.
		text: [stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].join(":"),
		device: stat.dev,
	};
}

class LocalFileSource implements FileSource {
	readonly path: string;
	readonly contentId: string | undefined;
	readonly byteLength: number;
	readonly identity: string;
	private readonly file: OpenFile;
	private readonly device: bigint;
	/** of what is read twice through a page cache that did not hold it; null where nothing is to be done about it */
	private secondReads: SecondReads | null = null;

	constructor(
		path: string,
		contentId: string | undefined,
		handle: FileHandle,
		identity: Identity,
	) {
		this.path = path;
		this.contentId = contentId;
		this.file = new OpenFile(handle);
		this.identity = identity.text;
		this.device = identity.device;
		this.byteLength = identity.byteLength;
	}

	get isDirect(): boolean {
		return this.file.isDirect;
	}

	async chooseReading(
		directIo: DirectIo,
		dropPages: DropPages | null = null,
	): Promise<void> {
		const { path, file } = this;
		const isFaster = async () =>
			(await isLocalDisk(path)) && !isCached(file.buffered, this.byteLength);
		const wanted =
			directIo === "on" ||
			(directIo === "auto" &&
				(await isFaster().catch(failing(path, "reading"))));
		if (wanted)
			await file.bypassCache(path, READ_FLAGS).catch(failing(path, "opening"));
		if (!file.isDirect || dropPages === null) return;
		// Of no more use then, it would push out of the cache what is.
		this.secondReads = new SecondReads(this.byteLength, (...stretch) =>
			dropPages(file.buffered.fd, ...stretch),
		);
	}

	async read(
		fileOffset: number,
		into: Uint8Array,
		isOneOfTwo = false,
	): Promise<void> {
		const read: Transfer = async (handle, bytes, at) => {
			const { bytesRead } = await handle.read(bytes, 0, bytes.length, at);
			return bytesRead;
		};
		const done = await this.file
			.transfer(fileOffset, into, read, isOneOfTwo)
			.catch(failing(this.path, "reading"));
		if (done < into.length)
			throw new SourceChangedError({
				where: `${this.path}, byte ${fileOffset + done}`,
				what: "the file ends early",
				expected: `${this.byteLength} bytes`,
				found: `${fileOffset + done}`,
				remedy:
					"It became shorter while it was read: run again when nobody writes to it",
			});
		if (isOneOfTwo) this.secondReads?.read(fileOffset, done);
	}

	async checkUnchanged(): Promise<void> {
		const now = await identify(this.file.buffered).catch(
			failing(this.path, "looking at it"),
		);
		if (now.text !== this.identity || now.device !== this.device)
			throw new SourceChangedError({
				where: this.path,
				what: "the file changed while it was read",
				remedy: "Run again when nobody writes to it",
			});
	}

	async close(): Promise<void> {
		await this.file.close().catch(() => {}); // it changes nothing of what was read
	}
}
