import { copyFile, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { LLAMA, stateOf, useMergedModel } from "./merged-model.ts";
import { memoryFolder, run } from "./run.ts";

const mergedModel = useMergedModel();

async function mergeExpecting(list: string, ...flags: string[]) {
	const folder = await memoryFolder();
	const sides = ["base", "delta"].flatMap((side) => [
		...[`--${side}`, path.join(LLAMA, side)],
	]);
	const out = path.join(folder, "out");
	const result = await run(
		...[...sides, "--out", out, "--expect", list, ...flags],
	);
	return { ...result, out, left: await stateOf(folder) };
}

describe("merge --expect", () => {
	test.each(["SHA256SUMS", "merge-delta.json"])(
		"publishes what %s expects",
		async (name) => {
			const list = path.join(await mergedModel(), name);
			const { exitCode, out } = await mergeExpecting(list);
			expect(exitCode).toBe(0);
			expect((await run("verify", out, "--expect", list)).exitCode).toBe(0);
		},
	);

	test("expects nothing of the manifest, which tells the tool's version", async () => {
		const list = path.join(await memoryFolder(), "sums");
		await copyFile(path.join(await mergedModel(), "SHA256SUMS"), list);
		const text = await readFile(list, "utf8");
		await writeFile(list, text.replace(/^.*merge-delta\.json\n/m, ""));
		expect((await mergeExpecting(list)).exitCode).toBe(0);
		const other = `${"0".repeat(64)}  merge-delta.json\n`;
		await writeFile(list, text.replace(/^.*merge-delta\.json\n/m, other));
		expect((await mergeExpecting(list)).exitCode).toBe(0);
	});

	test.each<[string, string, (sums: string) => string]>([
		[
			"another weight file",
			"model-00001-of-00003.safetensors: expected 0000",
			(sums) => sums.replace(/\w{64}(?= {2}model-00001)/, "0".repeat(64)),
		],
		[
			"a file that is not made",
			"more: expected, and not made",
			(sums) => `${sums}${"0".repeat(64)}  more\n`,
		],
		[
			"a file less",
			"config.json: not expected",
			(sums) => sums.replace(/^\w+ {2}config\.json\n/m, ""),
		],
	])(
		"case 204: %s → exit 1, and nothing is published",
		async (_, says, spoil) => {
			const list = path.join(await memoryFolder(), "sums");
			const sums = path.join(await mergedModel(), "SHA256SUMS");
			await writeFile(list, spoil(await readFile(sums, "utf8")));
			const { exitCode, stderr, left } = await mergeExpecting(list);
			expect(stderr).toContain(says);
			expect(stderr).toContain("so this run has published nothing");
			expect([exitCode, left]).toEqual([1, []]);
		},
	);

	test.each([
		["case 207: a malformed line", `${"0".repeat(64)}  a\nwhat?\n`, 1],
		["case 208: no line", "# none\n", 1],
		["case 212: MD5", `${"0".repeat(32)}  config.json\n`, 3],
		["case 218: a newer manifest", '{"schemaVersion":2}', 3],
	])("%s is told before the merge", async (_, text, code) => {
		const list = path.join(await memoryFolder(), "sums");
		await writeFile(list, text);
		const { exitCode, stderr, left } = await mergeExpecting(list);
		expect(stderr).toMatch(/^error .*\n$/);
		expect([exitCode, left]).toEqual([code, []]);
	});
});
