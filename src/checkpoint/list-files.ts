import { readdir } from "node:fs/promises";
import path from "node:path";
import { failing } from "../io/system-error.ts";

/**
 * Everything in a folder and in its sub-folders that is no folder, or an empty one: names relative to it,
 * with `/`, sorted. Links are not followed.
 *
 * @throws {LocalIoError}
 */
export async function listFiles(folder: string): Promise<string[]> {
	const found: string[] = [];
	const pending = [""];
	for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
		const inside = path.join(folder, at);
		const entries = await readdir(inside, { withFileTypes: true }).catch(
			failing(inside, "listing"),
		);
		if (entries.length === 0 && at !== "") found.push(at);
		for (const entry of entries) {
			const name = at === "" ? entry.name : `${at}/${entry.name}`;
			(entry.isDirectory() ? pending : found).push(name);
		}
	}
	return found.sort();
}
