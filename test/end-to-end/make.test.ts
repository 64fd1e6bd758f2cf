import { cp, readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { FIXTURES, memoryFolder, run } from "./run.ts";

const LLAMA = path.join(FIXTURES, "llama-f16");
const BASE = path.join(LLAMA, "base");
const TARGET = path.join(LLAMA, "expected");

async function make(...flags: string[]) {
	const out = path.join(await memoryFolder(), "out");
	const sides = ["--base", BASE, "--target", TARGET, "--out", out];
	const all = ["make", ...sides, "--convention", "fastchat-v1.1", ...flags];
	return { out, ...(await run(...all)) };
}

describe("make", () => {
	test("gives the weights of the delta the reference made, with the target's other files", async () => {
		const { out, exitCode, stdout, stderr } = await make();
		expect(exitCode, stderr).toBe(0);
		expect(stdout).toMatch(/^made .*: 8 files/m);
		expect(stdout).toContain(
			"gives back every one of 43,680 parameters exactly",
		);
		expect(stderr).toContain(
			"F16 − F16 → F16; to be merged as F16 + F16 → F16",
		);
		const names = await readdir(path.join(LLAMA, "delta"));
		expect((await readdir(out)).sort()).toEqual(
			[...names, "SHA256SUMS", "merge-delta.json"].sort(),
		);
		for (const name of names) {
			const from = /^model/.test(name) ? path.join(LLAMA, "delta") : TARGET;
			const [ours, theirs] = await Promise.all([
				readFile(path.join(out, name)),
				readFile(path.join(from, name)),
			]);
			expect(ours.equals(theirs), name).toBe(true);
		}
		expect((await run("verify", out)).exitCode).toBe(0);
	});

	test("--json is one document, and the manifest tells of the target", async () => {
		const { out, stdout } = await make("--json");
		const { ok, manifest, restoration, elements } = JSON.parse(stdout);
		expect({ ok, elements, restoration }).toEqual({
			...{ ok: true, elements: 43_680 },
			restoration: {
				...{ sums: ["F16 + F16 → F16"], elements: 0, maxUlp: 0, tensors: [] },
			},
		});
		const text = await readFile(path.join(out, "merge-delta.json"), "utf8");
		expect(JSON.parse(text)).toEqual(manifest);
		expect(manifest.restoration).toEqual(restoration);
		const sides = manifest.inputs.map(({ from }: { from: string }) => from);
		expect(new Set(sides)).toEqual(new Set(["base", "target"]));
	});

	test("the edges of a type: what does not come back is counted, for each tensor", async () => {
		const out = path.join(await memoryFolder(), "out");
		const fixture = path.join(FIXTURES, "edges-f16");
		const { exitCode, stdout, stderr } = await run(
			...["make", "--base", path.join(fixture, "base"), "--out", out],
			...["--target", path.join(fixture, "delta"), "--convention", "add"],
			"--allow-non-finite",
		);
		expect(exitCode, stderr).toBe(0);
		const [, lost, tensors] =
			/does not give back ([\d,]+) of .* in (\d+) tensors?: up to [\d,]+ ulp/.exec(
				stdout,
			) ?? [];
		expect(Number(lost?.replaceAll(",", ""))).toBeGreaterThan(0);
		const named = stderr.match(/^ {2}.+: [\d,]+, up to [\d,]+ ulp$/gm) ?? [];
		expect(named).toHaveLength(10);
		expect(stderr).toContain(`  … and ${Number(tensors) - 10} more\n`);
	});

	test("differences that overflow are not published", async () => {
		const out = path.join(await memoryFolder(), "out");
		const fixture = path.join(FIXTURES, "edges-f16");
		const { exitCode, stderr } = await run(
			...["make", "--base", path.join(fixture, "base"), "--out", out],
			...["--target", path.join(fixture, "delta"), "--convention", "add"],
		);
		expect(exitCode).toBe(4);
		expect(stderr).toContain("became infinite");
		expect(await readdir(path.dirname(out))).toEqual([]);
	});

	test("two models that do not fit are refused with 4, and nothing is left", async () => {
		const folder = await memoryFolder();
		const other = path.join(FIXTURES, "llama-bf16-tied", "base");
		const refused = await run(
			...["make", "--base", other, "--target", TARGET],
			...["--out", path.join(folder, "no"), "--convention", "add"],
		);
		expect(refused.exitCode).toBe(4);
		expect(await readdir(folder)).toEqual([]);
	});

	test("base and target that are one model are told of", async () => {
		const out = path.join(await memoryFolder(), "out");
		const sides = ["--base", BASE, "--target", BASE, "--out", out];
		const result = await run("make", ...sides, "--convention", "add");
		expect(result.exitCode).toBe(0);
		expect(result.stderr).toContain("the delta is all zeros");
	});

	test.each([
		["without a convention", ["--base", BASE, "--target", TARGET]],
		["with auto", ["--base", BASE, "--target", TARGET, "--convention", "auto"]],
		["without a target", ["--base", BASE, "--convention", "add"]],
	])("%s is a usage error", async (_, flags) => {
		const out = path.join(await memoryFolder(), "out");
		const { exitCode } = await run("make", ...flags, "--out", out);
		expect(exitCode).toBe(2);
	});

	test("an output inside the target is refused", async () => {
		const folder = await memoryFolder();
		const target = path.join(folder, "target");
		await cp(TARGET, target, { recursive: true });
		const { exitCode, stderr } = await run(
			...["make", "--base", BASE, "--target", target, "--convention", "add"],
			...["--out", path.join(target, "delta")],
		);
		expect(exitCode).toBe(2);
		expect(stderr).toContain("the output would lie in the input");
	});
});
