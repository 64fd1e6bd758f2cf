import { mkdir, rename, writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { printable } from "../../src/index.ts";
import { stateOf, useMergedModel } from "./merged-model.ts";
import { memoryFolder, type Run, run } from "./run.ts";
import { f16, type Tensor, writeModel } from "./write-model.ts";

/** What a terminal or a runner would obey, hide or turn round. */
const NAMES = [
	"::error::a",
	" \t::stop-commands::b",
	"\u00a0::add-mask::c",
	"d\n::error file=x,line=1::e",
	"f\r::warning::g",
	"\u0085::error::h",
	"##[error]i",
	"j ##[add-mask]k",
	"\u001b[2J\u001b]0;title\u0007",
	"\u009b31m",
	"\u202etxt.exe\u2066",
	"l\u2028::error::m",
	"\u061c\u200f\ufeff\u{e0041}",
	"%0A::error::n%25",
];

/** What GitHub's runner would take for commands: `::name properties::data`, or `##[name]` anywhere. */
function commandsIn(said: string): string[] {
	return said.split(/[\n\r]/).filter((line) => {
		const text = line.trimStart();
		const isCommand = text.startsWith("::") && text.indexOf("::", 2) > 0;
		return isCommand || line.includes("##[");
	});
}

/** The data of an annotation as the runner shows it. */
function messageOf(command: string): string {
	const [, data = ""] = /^::(?:error|warning) [^:]*::(.*)$/.exec(command) ?? [];
	return data
		.replaceAll("%0D", "\r")
		.replaceAll("%0A", "\n")
		.replaceAll("%25", "%");
}

function expectHarmless({ stdout, stderr }: Run, annotated = false): string {
	const said = stdout + stderr;
	expect(said).not.toMatch(/[^\P{Cc}\n]|[\p{Cf}\p{Zl}\p{Zp}]/u);
	const commands = commandsIn(said);
	if (!annotated) expect(commands).toEqual([]);
	expect(commandsIn(stdout)).toEqual([]);
	for (const command of commands)
		expect(command).toMatch(
			/^::(error|warning) (file=[^:,]*,)?title=(merge-delta|not verified%3A [^:,]*)::/,
		);
	return commands.map(messageOf).join("\n");
}

const MODES: [name: string, flags: string[]][] = [
	["for people", []],
	["as JSON", ["--json"]],
	["in a runner", ["--annotations", "github"]],
];

async function folderOf(tensors: Record<string, Tensor>): Promise<string> {
	const file = await writeModel(tensors);
	const folder = path.dirname(file);
	await writeFile(path.join(folder, "config.json"), "{}");
	return folder;
}

const hostile = (bits: number) =>
	Object.fromEntries(NAMES.map((name) => [name, f16(bits, bits + 1)]));

describe("case 56: names of tensors", () => {
	test.each(MODES)("inspect %s", async (_, flags) => {
		const folder = await folderOf(hostile(1));
		const result = await run("inspect", folder, "--digests", ...flags);
		expectHarmless(result, flags.includes("github"));
		expect(result.stdout).toContain("error::a");
		expect(result.exitCode).toBe(0);
		if (flags.includes("--json")) {
			const { tensors } = JSON.parse(result.stdout);
			const told = tensors.map(({ name }: { name: string }) => name);
			expect(told.sort()).toEqual([...NAMES].sort());
		}
	});

	test.each(MODES)("compare %s", async (_, flags) => {
		const [a, b] = [await folderOf(hostile(1)), await folderOf(hostile(2))];
		const other = await folderOf({ x: f16(1) });
		for (const second of [b, other]) {
			const result = await run("compare", a, second, ...flags);
			expectHarmless(result, flags.includes("github"));
			expect(result.stdout).toContain("error::a");
			expect(result.exitCode).toBe(1);
		}
	});

	test.each(MODES)("merge and plan that fail %s", async (_, flags) => {
		const base = await folderOf({ ...hostile(1), more: f16(1) });
		const delta = await folderOf({ ...hostile(2), "::more::": f16(1) });
		const out = path.join(await memoryFolder(), "out");
		const sides = ["--base", base, "--delta", delta, "--convention", "add"];
		for (const command of [["plan"], ["--out", out]]) {
			const result = await run(...command, ...sides, ...flags);
			const messages = expectHarmless(result, flags.includes("github"));
			expect(result.exitCode).toBe(4);
			if (flags.includes("github")) expect(messages).toContain("::more::");
		}
		expect(await stateOf(path.dirname(out))).toEqual([]);
	});

	test.each(MODES)("merge %s", async (_, flags) => {
		const [base, delta] = [
			await folderOf(hostile(1)),
			await folderOf(hostile(0x7c00)),
		];
		const out = path.join(await memoryFolder(), "o\u001b[2Jut");
		const sides = ["--base", base, "--delta", delta, "--convention", "add"];
		const allow = ["--allow-unlikely", "--allow-non-finite"];
		const result = await run(...sides, "--out", out, ...allow, ...flags);
		const messages = expectHarmless(result, flags.includes("github"));
		expect(result.exitCode).toBe(0);
		if (flags.includes("github"))
			expect(messages).toContain("::error::a: 2 results are NaN or infinite");
	});

	test.each(MODES)("verify, of tensors %s", async (_, flags) => {
		const [a, b] = [await folderOf(hostile(1)), await folderOf(hostile(2))];
		const list = path.join(await memoryFolder(), "list");
		const told = await run("inspect", a, "--digests", "--json");
		await writeFile(list, told.stdout);
		const result = await run("verify", b, "--tensors", list, ...flags);
		const messages = expectHarmless(result, flags.includes("github"));
		expect(result.exitCode).toBe(1);
		if (flags.includes("github"))
			for (const name of NAMES)
				expect(messages).toContain(`tensor ${printable(name)}: FAILED\n`);
	});
});

const mergedModel = useMergedModel();

describe.skipIf(process.platform === "win32")(
	"case 217: names of files",
	() => {
		test.each(MODES)("verify %s", async (_, flags) => {
			const merged = await mergedModel();
			const out = path.join(path.dirname(merged), "a:b,c\n::error::%");
			await rename(merged, out);
			for (const name of NAMES) await writeFile(path.join(out, name), "");
			await mkdir(path.join(out, "::error::folder"));
			const list = path.join(await memoryFolder(), "\u202elist");
			const lines = NAMES.map((name) => {
				const escaped = name.replaceAll("\n", "\\n").replaceAll("\r", "\\r");
				const isEscaped = escaped !== name;
				return `${isEscaped ? "\\" : ""}${"0".repeat(64)}  ${escaped}\n`;
			});
			await writeFile(list, `::error::line\n${lines.join("")}`);
			for (const args of [[out], [out, "--expect", list]]) {
				const result = await run("verify", ...args, ...flags);
				const messages = expectHarmless(result, flags.includes("github"));
				expect(result.exitCode).toBe(1);
				if (flags.includes("--json"))
					expect(JSON.parse(result.stdout).ok).toBe(false);
				if (!flags.includes("github")) continue;
				expect(messages).toContain(`${printable("::error::a")}: `);
				expect(messages).toContain("%0A::error::n%25: ");
			}
		});

		test.each(MODES)("progress, a line for each file %s", async (_, flags) => {
			const [base, delta] = [await memoryFolder(), await memoryFolder()];
			const names = NAMES.map((name) => `${name}.bin`);
			for (const folder of [base, delta])
				for (const name of names) await writeFile(path.join(folder, name), "x");
			const out = path.join(await memoryFolder(), "out");
			const sides = ["--base", base, "--delta", delta, "--convention", "xor"];
			const result = await run(...sides, "--out", out, ...flags);
			expectHarmless(result, flags.includes("github"));
			expect(result.exitCode).toBe(0);
			expect(result.stderr.match(/^.*\(\d+ of \d+\)$/gm)).toHaveLength(
				names.length,
			);
		});

		test.each(MODES)("of the model itself, %s", async (_, flags) => {
			const commands = (name: string) => [
				["verify", name],
				["inspect", name],
				["compare", name, name],
				["plan", "--base", name, "--delta", name],
				["verify", name, "--expect", name],
			];
			for (const [i, name] of NAMES.entries()) {
				const command = commands(name)[i % 5] as string[];
				const result = await run(...command, ...flags);
				expectHarmless(result, flags.includes("github"));
				expect(result.exitCode).toBe(2);
			}
		});
	},
);
