import { stat } from "node:fs/promises";
import path from "node:path";
import { type FileSource, openFileSource } from "../io/file-source.ts";
import { listFolder } from "../io/local-path.ts";
import { systemErrorCode, toLocalIoError } from "../io/system-error.ts";

/** The folder of a model, wherever it is. */
export interface ModelFolder {
	/** for messages */
	readonly location: string;
	/** names of what lies in it, in any order */
	list(): Promise<string[]>;
	/** whether a file is there, which for a link is what it points to */
	has(fileName: string): Promise<boolean>;
	/** Open one of its files. Must be closed. */
	open(fileName: string): Promise<FileSource>;
}

export function localFolder(location: string): ModelFolder {
	return {
		location,
		list: () => listFolder(location),
		has: (fileName) => isThere(path.join(location, fileName)),
		open: (fileName) => openFileSource(path.join(location, fileName)),
	};
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
