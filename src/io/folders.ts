import path from "node:path";
import type { FileSystem } from "./file-system.ts";
import { systemErrorCode, toLocalIoError } from "./system-error.ts";

/** What is in a folder, or null where there is none. */
export async function listIfThere(
	files: FileSystem,
	folder: string,
): Promise<{ name: string; isFolder: boolean }[] | null> {
	return files.list(folder).catch((error) => {
		if (systemErrorCode(error) === "ENOENT") return null;
		throw toLocalIoError(error, folder, "listing");
	});
}

/** Remove a file, if it is there. */
export async function removeIfThere(
	files: FileSystem,
	file: string,
): Promise<void> {
	await files.removeFile(file).catch((error) => {
		if (systemErrorCode(error) !== "ENOENT")
			throw toLocalIoError(error, file, "removing");
	});
}

/** Remove a folder and all in it, if it is there; links are removed, not followed. */
export async function removeTree(
	files: FileSystem,
	folder: string,
): Promise<void> {
	try {
		for (const { name, isFolder } of (await listIfThere(files, folder)) ?? []) {
			const each = path.join(folder, name);
			if (isFolder) await removeTree(files, each);
			else await files.removeFile(each);
		}
		await files.removeFolder(folder);
	} catch (error) {
		if (systemErrorCode(error) !== "ENOENT")
			throw toLocalIoError(error, folder, "removing");
	}
}

/**
 * Make a folder's entries durable.
 *
 * @returns false where the file system has no such call, as on Windows and some network file systems
 */
export async function syncFolder(
	files: FileSystem,
	folder: string,
): Promise<boolean> {
	try {
		await files.syncFolder(folder);
		return true;
	} catch (error) {
		const code = systemErrorCode(error) ?? "";
		if (["EINVAL", "ENOTSUP", "EPERM", "EISDIR", "EACCES"].includes(code))
			return false;
		throw toLocalIoError(error, folder, "flushing");
	}
}
