import { spawnSync } from "node:child_process";
import { readdir } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { BIN, FIXTURES, run, scratchFolder } from "./run.ts";

const LLAMA = path.join(FIXTURES, "llama-f16");
const SIDES = [
	"--base",
	path.join(LLAMA, "base"),
	"--delta",
	path.join(LLAMA, "delta"),
];

async function merge(...flags: string[]) {
	const out = path.join(await scratchFolder(), "out");
	return { out, ...(await run(...SIDES, "--out", out, ...flags)) };
}

describe("usage", () => {
	test("nothing at all shows the help, with examples", async () => {
		const { exitCode, stdout, stderr } = await run();
		expect(exitCode).toBe(2);
		expect(stdout).toBe("");
		for (const word of [
			"--base",
			"verify <dir>",
			"Examples:",
			"--target-model-path",
		])
			expect(stderr).toContain(word);
		for (const line of stderr.split("\n"))
			expect(line.length).toBeLessThanOrEqual(80);
	});

	test.each([
		["an unknown flag", ["--what"]],
		["an unknown command", ["explode"]],
		[
			"a missing folder",
			["--base", "/no/such", "--delta", "/no/such", "--out", "/no/out"],
		],
		[
			"an unknown convention",
			[...SIDES, "--out", "/no/out", "--convention", "x"],
		],
		["an unknown dtype", [...SIDES, "--out", "/no/out", "--dtype", "F17"]],
		["a missing --out", SIDES],
		["an empty --base", ["--base", "", "--delta", "x", "--out", "y"]],
		["a flag twice", [...SIDES, "--base", "x", "--out", "/no/out"]],
	])("%s is a usage error of one line", async (_, args) => {
		const { exitCode, stdout, stderr } = await run(...args);
		expect(stderr).toMatch(/^error .+\n$/);
		expect(stdout).toBe("");
		expect(exitCode).toBe(2);
	});

	test("an output whose parent is missing is refused", async () => {
		const result = await run(
			...SIDES,
			"--out",
			path.join(await scratchFolder(), "a", "b"),
		);
		expect(result.exitCode).toBe(2);
		expect(result.stderr).toContain("Make it first");
	});
});

describe("output", () => {
	test("--json is one document on stdout", async () => {
		const { stdout, exitCode, out } = await merge("--json");
		expect(exitCode).toBe(0);
		expect(JSON.parse(stdout)).toMatchObject({
			schemaVersion: 1,
			ok: true,
			out,
		});
	});

	test("--json tells failures too, and warnings go to stderr", async () => {
		const base = path.join(FIXTURES, "llama-bf16-tied");
		const result = await run(
			...["plan", "--json", "--base", path.join(base, "base")],
			...["--delta", path.join(base, "delta")],
		);
		expect(result.exitCode).toBe(4);
		expect(JSON.parse(result.stdout)).toMatchObject({
			ok: false,
			error: { code: "ERR_MISMATCH", exitCode: 4 },
		});
	});

	test("names reach neither terminal nor JSON unescaped", async () => {
		const folder = path.join(
			FIXTURES,
			"invalid",
			"056-name-steers-the-terminal",
		);
		for (const flags of [[], ["--json"]]) {
			const { stdout, stderr } = await run("inspect", folder, ...flags);
			expect(stdout).toContain("::error::x");
			const said = stdout + stderr;
			expect(said).not.toMatch(/[^\P{Cc}\n]|\p{Cf}|^::/mu);
		}
	});

	test("without a terminal there is a line for each shard, in plain text", async () => {
		const { stderr } = await merge();
		expect(
			stderr.match(/^model-0000\d-of-00003\.safetensors .*\(\d of 3\)$/gm),
		).toHaveLength(3);
		expect(stderr).not.toContain("\u001b");
	});

	test("--quiet leaves the result alone", async () => {
		const { stdout, stderr } = await merge("--quiet");
		expect(stderr).toBe("");
		expect(stdout).toMatch(/^merged .+\n$/);
	});

	test("plan writes nothing and names what would be written", async () => {
		const { exitCode, stdout } = await run("plan", ...SIDES);
		expect(exitCode).toBe(0);
		for (const word of [
			"fastchat-v1.1",
			"F16 + F16 → F16",
			"tokenizer.json from delta",
			"config.json from base",
		])
			expect(stdout).toContain(word);
		const again = await run("plan", ...SIDES, "--json");
		expect(stdout).toContain(JSON.parse(again.stdout).planId);
	});

	test("inspect lists every tensor", async () => {
		const { stdout } = await run("inspect", path.join(LLAMA, "base"));
		expect(stdout).toMatch(/^lm_head\.weight +F16 +\[320, 32\] +20\.5 kB$/m);
		expect(stdout).toContain("21 tensors (F16 × 21), 43,680 parameters");
	});

	test("a failed merge leaves no folder", async () => {
		const { exitCode, out } = await merge(
			"--dtype",
			"BF16",
			"--convention",
			"what",
		);
		expect(exitCode).toBe(2);
		expect(await readdir(path.dirname(out))).toEqual([]);
	});
});

test.runIf(process.platform !== "win32")(
	"a reader that stops reading ends the command quietly, and not with success",
	() => {
		const model = path.join(FIXTURES, "llama-f16", "base");
		const script = `"$0" "$1" inspect "$2" | true; echo "\${PIPESTATUS[0]}"`;
		const { stdout, stderr } = spawnSync(
			"bash",
			["-c", script, process.execPath, BIN, model],
			{ encoding: "utf8" },
		);
		expect(stderr).toBe("");
		expect(stdout).toBe("141\n");
	},
);
