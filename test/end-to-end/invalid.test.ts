import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { expect, test } from "vitest";
import { FIXTURES, run, scratchFolder } from "./run.ts";

interface Case {
	id: number;
	folder: string;
	exit: number;
	/** what the message must hold: one part or several */
	says: string | string[];
}

const CASES: Case[] = JSON.parse(
	await readFile(path.join(FIXTURES, "invalid", "cases.json"), "utf8"),
);

test.each(CASES)("case $id $folder ends with $exit", async (invalid) => {
	const folder = path.join(FIXTURES, "invalid", invalid.folder);
	const scratch = await scratchFolder();
	const out = path.join(scratch, "out");
	const result = await run(
		...["--base", folder, "--delta", folder, "--out", out, "--allow-unlikely"],
	);
	// the folder's name says what is wrong, so it must not count
	const said = (result.stderr + result.stdout).replaceAll(folder, "");
	for (const words of [invalid.says].flat()) expect(said).toContain(words);
	expect(said).not.toContain("    at "); // no stack
	expect(result.exitCode).toBe(invalid.exit);
	expect(await readdir(scratch)).toEqual(invalid.exit === 0 ? ["out"] : []);
});
