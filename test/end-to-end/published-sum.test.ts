import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { expect, test } from "vitest";
import { addSums, expectedSum } from "../../src/delta/published-sum.ts";
import { sumElements } from "../../src/kernel/sum-elements.ts";
import { FIXTURES, memoryFolder, run } from "./run.ts";

const ALPACA = path.join(FIXTURES, "conventions", "alpaca");

async function mergeAlpaca(...flags: string[]) {
	const folder = await memoryFolder();
	const result = await run(
		...["--base", path.join(ALPACA, "base"), "--delta"],
		...[path.join(ALPACA, "delta"), "--out", path.join(folder, "out")],
		...["--convention", "alpaca", "--allow-non-finite", ...flags],
	);
	return { folder, result };
}

/** The sum of all elements of the expected model, in binary64. */
async function trueSum(): Promise<number> {
	const expected = path.join(ALPACA, "expected");
	let sum = 0;
	for (const name of await readdir(expected)) {
		if (!name.endsWith(".safetensors")) continue;
		const bytes = await readFile(path.join(expected, name));
		const data = bytes.subarray(8 + Number(bytes.readBigUInt64LE(0)));
		sum += sumElements("F32", Uint8Array.from(data));
	}
	return sum;
}

test("a merge whose elements add up to what is expected is published", async () => {
	const { result } = await mergeAlpaca("--expect-sum", `${await trueSum()}`);
	expect(result.exitCode, result.stderr).toBe(0);
});

test("a merge whose elements add up to something else ends with 1 and leaves nothing", async () => {
	const sum = (await trueSum()) * 1.001 + 1;
	const { folder, result } = await mergeAlpaca("--expect-sum", `${sum}`);
	expect(result.exitCode).toBe(1);
	expect(result.stderr).toContain("do not add up");
	expect(await readdir(folder)).toEqual([]);
});

test("a sum that is no number is refused", async () => {
	const { result } = await mergeAlpaca("--expect-sum", "much");
	expect(result.exitCode).toBe(2);
});

test("published sums hold for models of their size, with rotary frequencies or without", () => {
	const known = expectedSum("alpaca", 6_738_423_808, []);
	expect(known?.accept.map(({ sum }) => Number(sum.toFixed(2)))).toEqual([
		50637.18, 50398.47,
	]);
	expect(expectedSum("alpaca", 6_738_415_616, [])).toBe(null);
	expect(expectedSum("wizardlm", 6_738_423_808, [])).toBe(null);
	expect(expectedSum("gisting", 6_738_423_808, [])?.accept).toHaveLength(6);
});

test("tensors are added in binary32, in the order of the model", () => {
	const expected = { accept: [], tolerance: 0, tensors: ["a", "b", "c"] };
	const sums = new Map([
		["c", -(2 ** 25)],
		["b", 1],
		["a", 2 ** 25],
	]);
	expect(addSums(expected, sums)).toBe(0);
});

test("elements are added up in every type, at any address", () => {
	const f16 = new Uint8Array([0, 0x3c, 0, 0xbc, 1, 0]);
	expect(sumElements("F16", f16)).toBe(2 ** -24);
	const f32 = new Uint8Array(new Float32Array([1.5, -0.25, 3]).buffer);
	const shifted = new Uint8Array(13);
	shifted.set(f32, 1);
	expect(sumElements("F32", f32)).toBe(4.25);
	expect(sumElements("F32", shifted.subarray(1))).toBe(4.25);
});
