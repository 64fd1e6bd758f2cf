import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { CONVENTIONS } from "../../src/index.ts";
import { FIXTURES, memoryFolder, run } from "./run.ts";

interface Case {
	convention: string;
	flags: string[];
	note: string;
}

const FOLDER = path.join(FIXTURES, "conventions");

const CASES = await Promise.all(
	(await readdir(FOLDER, { withFileTypes: true }))
		.filter((entry) => entry.isDirectory())
		.map(async ({ name }) => {
			const text = await readFile(path.join(FOLDER, name, "case.json"), "utf8");
			return { folder: name, ...(JSON.parse(text) as Case) };
		}),
);

test("every convention has a fixture", () => {
	const tested = new Set(CASES.map(({ convention }) => convention));
	const untested = Object.keys(CONVENTIONS).filter((id) => !tested.has(id));
	// Its fixtures are those of the plain sums, one for each dtype.
	expect(untested).toEqual(["add"]);
});

describe.each(CASES)("$folder: $note", ({ folder, convention, flags }) => {
	test("gives the bytes of its own script in every file", async () => {
		const out = path.join(await memoryFolder(), "out");
		const side = (name: string) => path.join(FOLDER, folder, name);
		const result = await run(
			...["--base", side("base"), "--delta", side("delta"), "--out", out],
			...["--convention", convention, "--allow-non-finite", ...flags],
		);
		expect(result.stderr).not.toContain("error");
		expect(result.exitCode, result.stderr).toBe(0);
		const names = await readdir(side("expected"));
		expect((await readdir(out)).sort()).toEqual(
			[...names, "SHA256SUMS", "merge-delta.json"].sort(),
		);
		for (const name of names) {
			const [ours, theirs] = await Promise.all([
				readFile(path.join(out, name)),
				readFile(path.join(side("expected"), name)),
			]);
			expect(ours.equals(theirs), name).toBe(true);
		}
		expect((await run("verify", out)).exitCode).toBe(0);
	});
});
