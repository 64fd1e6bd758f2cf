import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { SafeTensor } from "safetensors";
import { describe, expect, test } from "vitest";
import { FIXTURES, memoryFolder, run } from "./run.ts";

/** Every fixture the reference made: its folder, the flags it needs, and the folder that must come out. */
const MERGES: [fixture: string, flags: string[], expected: string][] = [
	["llama-f16", [], "expected"],
	["llama-f16", ["--convention", "fastchat-v1.1"], "expected"],
	["llama-f16", ["--convention", "add"], "expected"],
	["llama-bf16-tied", ["--convention", "add"], "expected"],
	["one-file-to-shards", [], "expected"],
	...["f16", "bf16", "f32", "f64"].map((dtype): (typeof MERGES)[number] => [
		`edges-${dtype}`,
		["--convention", "add", "--allow-non-finite"],
		"expected",
	]),
	...["f16", "bf16", "f32"].map((dtype): (typeof MERGES)[number] => [
		"mixed-dtype",
		["--convention", "add", "--dtype", dtype, "--allow-non-finite"],
		`expected-${dtype}`,
	]),
];

async function mergeFixture(fixture: string, flags: readonly string[]) {
	const out = path.join(await memoryFolder(), "out");
	const [base, delta] = ["base", "delta"].map((side) =>
		path.join(FIXTURES, fixture, side),
	) as [string, string];
	const result = await run(
		"--base",
		base,
		"--delta",
		delta,
		"--out",
		out,
		...flags,
	);
	return { out, result };
}

/** Those with `edges` hold zeros, subnormals, ties, infinities and NaNs, and what torch makes of them. */
describe.each(MERGES)("%s %j", (fixture, flags, expectedName) => {
	test("case 130: gives the reference's bytes in every file", async () => {
		const { out, result } = await mergeFixture(fixture, flags);
		expect(result.exitCode, result.stderr).toBe(0);
		const expected = path.join(FIXTURES, fixture, expectedName);
		const names = await readdir(expected);
		expect((await readdir(out)).sort()).toEqual(
			[...names, "SHA256SUMS", "merge-delta.json"].sort(),
		);
		for (const name of names) {
			const [ours, theirs] = await Promise.all([
				readFile(path.join(out, name)),
				readFile(path.join(expected, name)),
			]);
			expect(ours.equals(theirs), name).toBe(true);
		}
	});

	test("verifies", async () => {
		const { out } = await mergeFixture(fixture, flags);
		expect((await run("verify", out)).exitCode).toBe(0);
	});
});

test("two merges give the same bytes in every file", async () => {
	const [first, second] = await Promise.all([
		mergeFixture("llama-f16", []),
		mergeFixture("llama-f16", []),
	]);
	for (const name of await readdir(first.out))
		expect(await readFile(path.join(first.out, name))).toEqual(
			await readFile(path.join(second.out, name)),
		);
});

test("an independent reader finds every tensor, with the reference's bytes", async () => {
	const { out } = await mergeFixture("llama-f16", []);
	const expected = path.join(FIXTURES, "llama-f16", "expected");
	const index = await readFile(path.join(out, "model.safetensors.index.json"));
	const weightMap: Record<string, string> = JSON.parse(
		index.toString(),
	).weight_map;
	expect(Object.keys(weightMap)).toHaveLength(21);
	for (const [tensor, shard] of Object.entries(weightMap)) {
		const ours = await openIndependently(path.join(out, shard));
		const theirs = await openIndependently(path.join(expected, shard));
		expect(ours.metadata.get(tensor)).toEqual(theirs.metadata.get(tensor));
		expect(ours.getTensor(tensor)).toEqual(theirs.getTensor(tensor));
		expect(ours.getTensor(tensor).length).toBeGreaterThan(0);
	}
});

/** npm `safetensors` takes `__metadata__` for a tensor and fails, so it gets the file with blanks there. */
async function openIndependently(file: string): Promise<SafeTensor> {
	const bytes = await readFile(file);
	const metadata = '"__metadata__":{"format":"pt"},';
	bytes.write(" ".repeat(metadata.length), bytes.indexOf(metadata));
	return new SafeTensor(new Uint8Array(bytes));
}

test("config comes from the base and tokenizer from the delta", async () => {
	const { out } = await mergeFixture("llama-f16", []);
	const same = async (name: string, side: string) =>
		(await readFile(path.join(out, name))).equals(
			await readFile(path.join(FIXTURES, "llama-f16", side, name)),
		);
	expect(await same("config.json", "base")).toBe(true);
	expect(await same("config.json", "delta")).toBe(false);
	expect(await same("tokenizer.json", "delta")).toBe(true);
	expect(await same("tokenizer.json", "base")).toBe(false);
});

test("FastChat's flags are understood", async () => {
	const out = path.join(await memoryFolder(), "out");
	const fixture = path.join(FIXTURES, "one-file-to-shards");
	const result = await run(
		...["--base-model-path", path.join(fixture, "base")],
		...["--delta-path", path.join(fixture, "delta")],
		...["--target-model-path", out],
	);
	expect(result.exitCode).toBe(0);
});

test("sums that overflow are not published", async () => {
	const { out, result } = await mergeFixture("edges-f16", [
		"--convention",
		"add",
	]);
	expect(result.exitCode).toBe(4);
	expect(result.stderr).toContain("became infinite");
	await expect(readdir(path.dirname(out))).resolves.toEqual([]);
});
