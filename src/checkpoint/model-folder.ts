import { stat } from "node:fs/promises";
import path from "node:path";
import { FormatError, UsageError } from "../errors.ts";
import { type FileSource, openFileSource } from "../io/file-source.ts";
import { followLinks, listFolder } from "../io/local-path.ts";
import { systemErrorCode, toLocalIoError } from "../io/system-error.ts";

/** The folder of a model, wherever it is. */
export interface ModelFolder {
	/** for messages */
	readonly location: string;
	/** what lies in it, in any order; a link that leads nowhere counts as a file, and is told when it is opened */
	list(): Promise<FolderNames>;
	/** whether a file is there, which for a link is what it points to */
	has(fileName: string): Promise<boolean>;
	/** Open one of its files. Must be closed. */
	open(fileName: string): Promise<FileSource>;
	/** one of its folders */
	folder(name: string): ModelFolder;
	/** @throws {FormatError} where a file is a link to somewhere else: its target would be published */
	refuseLinksOut(fileNames: readonly string[]): Promise<void>;
}

export interface FolderNames {
	fileNames: readonly string[];
	folderNames: readonly string[];
}

/** A model, found but not opened: a folder with all that belongs to it, or one weight file. */
export interface ModelPlace {
	/** as the caller named it */
	location: string;
	folder: ModelFolder;
	/** the one weight file; null where the folder is meant */
	fileName: string | null;
}

/**
 * Find a model on this machine.
 *
 * @throws {UsageError} where nothing is there
 */
export async function findLocalModel(location: string): Promise<ModelPlace> {
	const stats = await stat(location).catch((error) => {
		if (systemErrorCode(error) === "ENOENT")
			throw new UsageError({
				where: location,
				what: "no such file or folder",
				remedy:
					"Name a folder with weights, one weight file, or a model of the Hub (org/name or org/name@revision)",
			});
		throw toLocalIoError(error, location, "opening");
	});
	return stats.isDirectory()
		? { location, folder: localFolder(location), fileName: null }
		: {
				location,
				folder: localFolder(path.dirname(location)),
				fileName: path.basename(location),
			};
}

/** @param within  the folder that links may lead into; default: the one they lie in */
export function localFolder(
	location: string,
	within: string = location,
): ModelFolder {
	return {
		location,
		list: () => listModel(location),
		has: (fileName) => isThere(path.join(location, fileName)),
		open: (fileName) => openFileSource(path.join(location, fileName)),
		folder: (name) => localFolder(path.join(location, name), within),
		refuseLinksOut: (fileNames) => refuseLinksOut(location, fileNames, within),
	};
}

async function listModel(location: string): Promise<FolderNames> {
	const [fileNames, folderNames]: [string[], string[]] = [[], []];
	for (const name of await listFolder(location)) {
		const target = await stat(path.join(location, name)).catch(() => null);
		(target?.isDirectory() ? folderNames : fileNames).push(name);
	}
	return { fileNames, folderNames };
}

async function isThere(file: string): Promise<boolean> {
	return stat(file).then(
		() => true,
		(error) => {
			if (systemErrorCode(error) === "ENOENT") return false;
			throw toLocalIoError(error, file, "opening");
		},
	);
}

async function refuseLinksOut(
	folder: string,
	fileNames: readonly string[],
	within: string,
): Promise<void> {
	const roots = await allowedRoots(within);
	for (const fileName of fileNames) {
		const file = path.join(folder, fileName);
		const target = await followLinks(file);
		if (!roots.some((root) => target.startsWith(root + path.sep)))
			throw new FormatError({
				where: file,
				what: "a symbolic link out of the model's folder",
				found: target,
				remedy:
					"It would be copied into the output: replace the link by the file itself",
			});
	}
}

/**
 * A snapshot in a Hub cache links into the `blobs` folder of its own repository, which may link on into that of
 * the whole cache.
 */
async function allowedRoots(folder: string): Promise<string[]> {
	const real = await followLinks(folder);
	const parent = path.dirname(real);
	if (path.basename(parent) !== "snapshots") return [real];
	const repository = path.dirname(parent);
	const holders = path.basename(repository).startsWith("models--")
		? [repository, path.dirname(repository)]
		: [repository];
	return [real, ...holders.map((holder) => path.join(holder, "blobs"))];
}
