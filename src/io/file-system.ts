import { constants } from "node:fs";
import {
	type FileHandle,
	mkdir,
	open,
	readdir,
	rename,
	rmdir,
	unlink,
} from "node:fs/promises";
import { type DirectIo, isLocalDisk, OpenFile } from "./direct-io.ts";

/** A file of the output, open for reading and writing. Must be closed. Throws what the system says. */
export interface StoredFile {
	/** @returns how many bytes there were, fewer than asked at the end of the file */
	read(fileOffset: number, into: Uint8Array): Promise<number>;
	/** @returns how many bytes were written */
	write(fileOffset: number, bytes: Uint8Array): Promise<number>;
	truncate(byteLength: number): Promise<void>;
	/** Say how long it will be, behind its end now; what is not written is zero. May do nothing. */
	preallocate(byteLength: number): Promise<void>;
	byteLength(): Promise<number>;
	/** Make bytes and length durable, not the name. */
	sync(): Promise<void>;
	close(): Promise<void>;
}

/** All that is done to the output's folders and files; whatever of it is not synced may be lost, in any order. */
export interface FileSystem {
	/** A file that does not exist yet; a link in its place is not followed. */
	create(file: string, directIo?: DirectIo): Promise<StoredFile>;
	/** A file that exists, and is no link. */
	open(file: string, directIo?: DirectIo): Promise<StoredFile>;
	list(folder: string): Promise<{ name: string; isFolder: boolean }[]>;
	makeFolder(folder: string): Promise<void>;
	removeFile(file: string): Promise<void>;
	/** an empty one */
	removeFolder(folder: string): Promise<void>;
	rename(from: string, to: string): Promise<void>;
	/** Make a folder's entries durable. */
	syncFolder(folder: string): Promise<void>;
}

/** The file system of this machine. */
export const LOCAL_FILES: FileSystem = {
	create: (file, directIo = "off") =>
		openStored(file, constants.O_CREAT | constants.O_EXCL, directIo),
	open: (file, directIo = "off") =>
		openStored(file, constants.O_NOFOLLOW ?? 0, directIo),
	list: async (folder) => {
		const entries = await readdir(folder, { withFileTypes: true });
		return entries.map((entry) => ({
			...{ name: entry.name, isFolder: entry.isDirectory() },
		}));
	},
	makeFolder: (folder) => mkdir(folder),
	removeFile: (file) => unlink(file),
	removeFolder: (folder) => rmdir(folder),
	rename: (from, to) => rename(from, to),
	syncFolder: async (folder) => {
		const handle = await open(folder, "r");
		try {
			await handle.sync();
		} finally {
			await handle.close();
		}
	},
};

async function openStored(
	file: string,
	flags: number,
	directIo: DirectIo,
): Promise<StoredFile> {
	const handle = await open(file, constants.O_RDWR | flags, 0o644);
	const stored = new LocalFile(handle);
	try {
		if (directIo === "on" || (directIo === "auto" && (await isLocalDisk(file))))
			await stored.bypassCache(file);
		return stored;
	} catch (error) {
		await stored.close().catch(() => {});
		throw error;
	}
}

class LocalFile implements StoredFile {
	private readonly file: OpenFile;

	constructor(handle: FileHandle) {
		this.file = new OpenFile(handle);
	}

	bypassCache(file: string): Promise<void> {
		return this.file.bypassCache(file, constants.O_RDWR);
	}

	read(fileOffset: number, into: Uint8Array): Promise<number> {
		return this.file.transfer(fileOffset, into, async (handle, bytes, at) => {
			const { bytesRead } = await handle.read(bytes, 0, bytes.length, at);
			return bytesRead;
		});
	}

	write(fileOffset: number, bytes: Uint8Array): Promise<number> {
		return this.file.transfer(fileOffset, bytes, async (handle, rest, at) => {
			const { bytesWritten } = await handle.write(rest, 0, rest.length, at);
			return bytesWritten;
		});
	}

	truncate(byteLength: number): Promise<void> {
		return this.file.buffered.truncate(byteLength);
	}

	async preallocate(byteLength: number): Promise<void> {
		// Through the page cache it may mean that zeros are written first.
		if (this.file.isDirect) await this.truncate(byteLength);
	}

	async byteLength(): Promise<number> {
		return (await this.file.buffered.stat()).size;
	}

	sync(): Promise<void> {
		return this.file.buffered.datasync();
	}

	close(): Promise<void> {
		return this.file.close();
	}
}
