import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const SRC = fileURLToPath(new URL("../src", import.meta.url));

/** Each part of the house with the parts it may import: all stand below it. */
const MAY_IMPORT: Record<string, readonly string[]> = {
	errors: [],
	version: [],
	tensor: ["errors"],
	format: ["tensor", "errors"],
	kernel: ["tensor", "errors"],
	io: ["errors"],
	hub: ["io", "errors"],
	checkpoint: ["format", "io", "tensor", "errors"],
	delta: ["checkpoint", "format", "kernel", "tensor", "errors"],
	engine: [
		"delta",
		"kernel",
		"io",
		"checkpoint",
		"format",
		"tensor",
		"errors",
		"version",
	],
	operation: [
		"hub",
		"engine",
		"delta",
		"kernel",
		"io",
		"checkpoint",
		"format",
		"tensor",
		"errors",
		"operation",
		"version",
	],
	index: [
		"operation",
		"hub",
		"engine",
		"delta",
		"format",
		"io",
		"kernel",
		"tensor",
		"errors",
		"version",
	],
	cli: ["index", "version"],
};
const OPERATIONS = [
	"merge",
	"make",
	"plan",
	"verify",
	"verify-files",
	"compare",
	"expectation",
	"tensor-list",
	"inspect",
	"fetch",
	"cache",
	"locate",
	"fetch-inputs",
	"bring-inputs",
	"doctor",
	"check-choices",
	"check-inputs",
	"expected-inputs",
	"recognise",
	"sample",
];
const PACKAGES: Record<string, readonly string[]> = {
	cli: ["yargs", "cli-progress"],
	hub: ["@huggingface/hub", "undici"],
};
/** Parts that do no input or output. */
const PURE = ["errors", "tensor", "format", "delta"];

/** The part a file of `src/` belongs to: its folder, or its name at the top. */
function partOf(file: string): string {
	const [first = ""] = path.relative(SRC, file).split(path.sep);
	const name = first.replace(/\.ts$/, "");
	return OPERATIONS.includes(name) ? "operation" : name;
}

async function sourceFiles(): Promise<string[]> {
	const names = await readdir(SRC, { recursive: true });
	return names.filter((n) => n.endsWith(".ts")).map((n) => path.join(SRC, n));
}

async function importsOf(
	file: string,
): Promise<{ specifier: string; typeOnly: boolean }[]> {
	const text = await readFile(file, "utf8");
	const pattern = /^(?:import|export)\s+(type\s)?[^;]*?from\s+"([^"]+)"/gms;
	return Array.from(text.matchAll(pattern), (match) => ({
		typeOnly: match[1] !== undefined,
		specifier: match[2] ?? "",
	}));
}

test("every import points down", async () => {
	const wrong: string[] = [];
	let seen = 0;
	for (const file of await sourceFiles()) {
		const part = partOf(file);
		const allowed = MAY_IMPORT[part];
		expect(allowed, `${part} is no part of the house`).toBeDefined();
		for (const { specifier } of await importsOf(file)) {
			seen++;
			const at = `${path.relative(SRC, file)} → ${specifier}`;
			if (specifier.startsWith(".")) {
				const target = partOf(path.resolve(path.dirname(file), specifier));
				if (target !== part && !allowed?.includes(target)) wrong.push(at);
			} else if (!specifier.startsWith("node:")) {
				if (!PACKAGES[part]?.includes(specifier)) wrong.push(at);
			}
		}
	}
	expect(wrong).toEqual([]);
	expect(seen).toBeGreaterThan(100);
});

test("pure parts touch no file, process or network", async () => {
	const impure = /^node:(?!crypto$|buffer$)/;
	for (const file of await sourceFiles())
		if (PURE.includes(partOf(file)))
			for (const { specifier } of await importsOf(file))
				expect(specifier, file).not.toMatch(impure);
});

test("delta knows only the types of a checkpoint", async () => {
	for (const file of await sourceFiles())
		if (partOf(file) === "delta")
			for (const { specifier, typeOnly } of await importsOf(file))
				if (
					specifier.includes("/checkpoint/") ||
					specifier.includes("/kernel/")
				)
					expect(typeOnly, `${file} → ${specifier}`).toBe(true);
});

test("no default exports, no barrels, no catch-all names", async () => {
	for (const file of await sourceFiles()) {
		const text = await readFile(file, "utf8");
		expect(text, file).not.toMatch(/^export default/m);
		if (path.basename(file) === "index.ts")
			expect(file).toBe(path.join(SRC, "index.ts"));
		else expect(text, file).not.toMatch(/^export .* from /m);
		expect(path.relative(SRC, file)).not.toMatch(/util|helper|misc|common/);
	}
});
