import { createHash } from "node:crypto";
import { UsageError } from "../errors.ts";
import type { ByteSource } from "../io/byte-source.ts";
import type { FileSource } from "../io/file-source.ts";
import type { FolderNames, ModelFolder, ModelPlace } from "./model-folder.ts";

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

/** What a model's place holds, by name alone and sorted; hidden files are none of it. */
export async function listNames({
	folder,
	fileName,
}: ModelPlace): Promise<FolderNames> {
	if (fileName !== null) return { fileNames: [fileName], folderNames: [] };
	const { fileNames, folderNames } = await folder.list();
	const visible = (names: readonly string[]) =>
		names.filter((name) => !name.startsWith(".")).sort();
	return { fileNames: visible(fileNames), folderNames: visible(folderNames) };
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
 * @throws {UsageError} where several sub-folders fit
 * @throws {FormatError} for what is no regular file, and for a link out of the folder
 * @throws {LocalIoError}
 */
export async function openFiles(
	model: ModelPlace,
	{ folder: wanted = null, only }: OpenFilesOptions = {},
): Promise<OpenFiles> {
	const top = await listNames(model);
	const subFolder = chooseFolder(model, top, wanted);
	const isFolder = model.fileName === null;
	const folder =
		subFolder === null ? model.folder : model.folder.folder(subFolder);
	const { fileNames: all } =
		subFolder === null
			? top
			: await listNames({ ...model, folder, fileName: null });
	const fileNames = isFolder
		? all.filter((name) => only?.has(name) ?? true)
		: all;
	if (isFolder) await folder.refuseLinksOut(fileNames);
	const files: OpenListedFile[] = [];
	const close = async () => {
		for (const { source } of files) await source.close();
	};
	try {
		for (const fileName of fileNames)
			files.push({ fileName, ...(await openFile(folder, fileName)) });
		const location = isFolder ? folder.location : model.location;
		return { location, isFolder, files, close };
	} catch (error) {
		await close();
		throw error;
	}
}

function chooseFolder(
	{ location }: ModelPlace,
	{ folderNames }: FolderNames,
	wanted: RegExp | null,
): string | null {
	const fitting = folderNames.filter((name) => wanted?.test(name));
	if (fitting.length > 1)
		throw new UsageError({
			where: location,
			what: "several folders may hold the delta",
			found: fitting.join(", "),
			remedy: "Name one of them",
		});
	return fitting[0] ?? null;
}

/** The first 64 bytes of a file, or all. */
export async function readStart(
	folder: ModelFolder,
	fileName: string,
): Promise<Uint8Array> {
	const { start, source } = await openFile(folder, fileName);
	await source.close();
	return start;
}

async function openFile(
	folder: ModelFolder,
	fileName: string,
): Promise<Omit<OpenListedFile, "fileName">> {
	const source = await folder.open(fileName);
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
