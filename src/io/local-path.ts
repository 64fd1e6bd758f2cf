import { readdir, realpath } from "node:fs/promises";
import { failing } from "./system-error.ts";

/** The names in a folder of this machine. @throws {LocalIoError} */
export async function listFolder(folder: string): Promise<string[]> {
	return readdir(folder).catch(failing(folder, "listing"));
}

/** Where a path leads to, all links followed. @throws {LocalIoError} */
export async function followLinks(file: string): Promise<string> {
	return realpath(file).catch(failing(file, "following the link"));
}
