import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import path from "node:path";
import { UsageError } from "../errors.ts";
import type { ByteSource } from "../io/byte-source.ts";
import { type FileSource, openFileSource } from "../io/file-source.ts";
import { listFolder } from "../io/local-path.ts";
import { systemErrorCode, toLocalIoError } from "../io/system-error.ts";
import { refuseLinksOut } from "./side-files.ts";

/** How much of each file is read to tell what it is, in bytes. */
const START_BYTES = 64;
const PIECE_BYTES = 2 ** 20;

/** A file of which nothing is known but its bytes. */
export interface ListedFile {
	/** relative to its listing's location */
	fileName: string;
	byteLength: number;
	/** its first 64 bytes, or all */
	start: Uint8Array;
}

/** Files, without the means to read them: all that planning needs. */
export interface FileListing {
	/** the folder they lie in, or the one file */
	location: string;
	isFolder: boolean;
	/** sorted by name */
	files: readonly ListedFile[];
}

/** Files, open for reading. Must be closed. */
export interface OpenFiles extends FileListing {
	files: readonly OpenListedFile[];
	close(): Promise<void>;
}

export interface OpenListedFile extends ListedFile {
	source: FileSource;
}

/** What lies at a location, by name alone; hidden files are none of it. */
export interface Names {
	/** the location, or the folder a bare file lies in */
	folder: string;
	isFolder: boolean;
	/** sorted */
	fileNames: readonly string[];
	folderNames: readonly string[];
}

/** @throws {UsageError} where nothing is there */
export async function listNames(location: string): Promise<Names> {
	const stats = await stat(location).catch((error) => {
		if (systemErrorCode(error) === "ENOENT")
			throw new UsageError({
				where: location,
				what: "no such file or folder",
				remedy: "Name a folder with safetensors weights, or one weight file",
			});
		throw toLocalIoError(error, location, "opening");
	});
	const [fileNames, folderNames]: [string[], string[]] = [[], []];
	if (!stats.isDirectory()) {
		fileNames.push(path.basename(location));
		const folder = path.dirname(location);
		return { folder, isFolder: false, fileNames, folderNames };
	}
	const entries = await listFolder(location);
	for (const name of entries.filter((n) => !n.startsWith(".")).sort()) {
		// A link that leads nowhere is told when it is opened.
		const target = await stat(path.join(location, name)).catch(() => null);
		(target?.isDirectory() ? folderNames : fileNames).push(name);
	}
	return { folder: location, isFolder: true, fileNames, folderNames };
}

export interface OpenFilesOptions {
	/** names of a sub-folder that is opened instead where there is one */
	folder?: RegExp | null;
	/** open only these of a folder's files */
	only?: ReadonlySet<string>;
}

/**
 * Open the files of a folder, or one file. Reads their first bytes only. Must be closed.
 *
 * @throws {UsageError} where nothing is there, or several sub-folders fit
 * @throws {FormatError} for what is no regular file, and for a link out of the folder
 * @throws {LocalIoError}
 */
export async function openFiles(
	location: string,
	{ folder: wanted = null, only }: OpenFilesOptions = {},
): Promise<OpenFiles> {
	const top = await listNames(location);
	const subFolder = chooseFolder(top, wanted);
	const names =
		subFolder === null ? top : await listNames(path.join(location, subFolder));
	const { folder, isFolder } = names;
	const fileNames = isFolder
		? names.fileNames.filter((name) => only?.has(name) ?? true)
		: names.fileNames;
	if (isFolder) await refuseLinksOut(folder, fileNames, location);
	const files: OpenListedFile[] = [];
	const close = async () => {
		for (const { source } of files) await source.close();
	};
	try {
		for (const fileName of fileNames) {
			const file = await openFile(path.join(folder, fileName));
			files.push({ fileName, ...file });
		}
		return { location: isFolder ? folder : location, isFolder, files, close };
	} catch (error) {
		await close();
		throw error;
	}
}

function chooseFolder(
	{ folder, folderNames }: Names,
	wanted: RegExp | null,
): string | null {
	const fitting = folderNames.filter((name) => wanted?.test(name));
	if (fitting.length > 1)
		throw new UsageError({
			where: folder,
			what: "several folders may hold the delta",
			found: fitting.join(", "),
			remedy: "Name one of them",
		});
	return fitting[0] ?? null;
}

/** The first 64 bytes of a file, or all. */
export async function readStart(file: string): Promise<Uint8Array> {
	const { start, source } = await openFile(file);
	await source.close();
	return start;
}

async function openFile(
	file: string,
): Promise<Omit<OpenListedFile, "fileName">> {
	const source = await openFileSource(file);
	try {
		const { byteLength } = source;
		const start = new Uint8Array(Math.min(START_BYTES, byteLength));
		await source.read(0, start);
		return { byteLength, start, source };
	} catch (error) {
		await source.close();
		throw error;
	}
}

/** MD5, in hex, of the first `byteLength` bytes of a file, or of all where it has fewer. */
export async function md5OfStart(
	source: ByteSource,
	byteLength: number,
): Promise<string> {
	const hash = createHash("md5");
	const end = Math.min(byteLength, source.byteLength);
	const buffer = new Uint8Array(Math.min(PIECE_BYTES, end));
	for (let at = 0; at < end; at += buffer.length) {
		const bytes = buffer.subarray(0, end - at);
		await source.read(at, bytes);
		hash.update(bytes);
	}
	return hash.digest("hex");
}
