import { createHash } from "node:crypto";
import { cp, mkdtemp, readdir, readFile, readlink, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { beforeAll, expect } from "vitest";
import { FIXTURES, memoryFolder, run } from "./run.ts";

export const LLAMA = path.join(FIXTURES, "llama-f16");

/** Merge a small model once, for all tests of a file; gives each a copy of its own to spoil. */
export function useMergedModel(): () => Promise<string> {
	let original = "";
	beforeAll(async () => {
		const folder = await mkdtemp(path.join(tmpdir(), "merge-delta-"));
		original = path.join(folder, "out");
		const sides = ["base", "delta"].flatMap((side) => [
			...[`--${side}`, path.join(LLAMA, side)],
		]);
		expect((await run(...sides, "--out", original)).exitCode).toBe(0);
		return () => rm(folder, { recursive: true, force: true });
	}, 60_000);
	return async () => {
		const out = path.join(await memoryFolder(), "out");
		await cp(original, out, { recursive: true });
		return out;
	};
}

/** Every path below a folder with what is there: to show that nothing was written. */
export async function stateOf(folder: string): Promise<string[]> {
	const entries = await readdir(folder, {
		recursive: true,
		withFileTypes: true,
	});
	const states = entries.map(async (entry) => {
		const file = path.join(entry.parentPath, entry.name);
		if (entry.isSymbolicLink()) return `${file} → ${await readlink(file)}`;
		if (!entry.isFile()) return file;
		const bytes = await readFile(file).catch(() => "unreadable");
		return `${file} ${createHash("sha256").update(bytes).digest("hex")}`;
	});
	return (await Promise.all(states)).sort();
}
