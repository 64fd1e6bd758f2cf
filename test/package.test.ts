import { execFileSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import * as api from "../src/index.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const BIN = path.join(ROOT, "dist", "bin", "merge-delta.cjs");
const readJson = async (file: string) =>
	JSON.parse(await readFile(path.join(ROOT, file), "utf8"));

test("the public API is what it was", () => {
	expect(Object.keys(api).sort()).toEqual([
		"BYTE_SCHEMES",
		"CHECKSUM_ALGORITHMS",
		"CONVENTIONS",
		"DIRECT_IO",
		"FLOAT_DTYPES",
		"FormatError",
		"GROW_RULES",
		"InterruptedError",
		"KERNEL_NAMES",
		"LocalIoError",
		"MergeDeltaError",
		"MismatchError",
		"NetworkError",
		"OutputConflictError",
		"SourceChangedError",
		"UsageError",
		"VERSION",
		"VerificationError",
		"cache",
		"compare",
		"describeConvention",
		"doctor",
		"fetch",
		"formatShape",
		"inspect",
		"make",
		"merge",
		"plan",
		"printable",
		"repositoryAt",
		"sumsOf",
		"toldName",
		"verify",
		"verifyCache",
	]);
});

test("the built command starts and tells the package's version", async () => {
	const said = execFileSync(process.execPath, [BIN, "--version"], {
		encoding: "utf8",
	});
	expect(said.trim()).toBe((await readJson("package.json")).version);
});

test("the package can be imported by its name", async () => {
	const program = 'import { VERSION } from "merge-delta"; console.log(VERSION)';
	const said = execFileSync(
		process.execPath,
		["--input-type=module", "-e", program],
		{
			cwd: ROOT,
			encoding: "utf8",
		},
	);
	expect(said.trim()).toBe(api.VERSION);
});

test("every run-time dependency is pinned and named in the README", async () => {
	const { dependencies } = await readJson("package.json");
	const readme = await readFile(path.join(ROOT, "README.md"), "utf8");
	for (const [name, version] of Object.entries(dependencies)) {
		expect(version).toMatch(/^\d+\.\d+\.\d+$/);
		expect(readme).toContain(`\`${name}\``);
	}
});

/** The conventions as the README shows them; `UPDATE_README=1` writes them there. */
test("the README's conventions are those of the table in the code", async () => {
	const cells = (row: Record<string, string>) =>
		`| ${Object.values(row).join(" | ")} |`;
	const rows = Object.entries(api.CONVENTIONS).map(([id, convention]) =>
		cells({ id: `\`${id}\``, ...api.describeConvention(convention) }),
	);
	const table = [
		"| convention | casts | result | new rows of the base | tensors of | the delta's as they are | config | tokenizer | published by |",
		"|---|---|---|---|---|---|---|---|---|",
		...rows,
	].join("\n");
	const file = path.join(ROOT, "README.md");
	const readme = await readFile(file, "utf8");
	const part =
		/(?<=generated from src\/delta\/conventions.ts -->\n)[\s\S]*?(?=\n?<!-- end -->)/;
	if (process.env.UPDATE_README)
		await writeFile(
			file,
			readme.replace(part, () => `\n${table}\n`),
		);
	else expect(part.exec(readme)?.[0].trim()).toBe(table);
});

test("the README lists every exit code", async () => {
	const { EXIT_CODES } = await import("../src/cli/exit-code.ts");
	const readme = await readFile(path.join(ROOT, "README.md"), "utf8");
	for (const { code, meaning } of EXIT_CODES)
		expect(readme).toContain(`| ${code} | ${meaning} |`);
});
