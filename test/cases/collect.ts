import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const TESTS = fileURLToPath(new URL("..", import.meta.url));
const ROOT = path.dirname(TESTS);
const VITEST = path.join(ROOT, "node_modules", "vitest", "vitest.mjs");

/**
 * How many tests of each file name a case, by its number; files relative to `test/`, in their order. All sets of
 * instructions of the native kernel count as one: machines have more or fewer.
 */
export type CaseTests = ReadonlyMap<number, ReadonlyMap<string, number>>;

/** Ask vitest for the names of all tests that may name a case, without running any. */
export async function collectCases(): Promise<CaseTests> {
	const scratch = await mkdtemp(path.join(tmpdir(), "merge-delta-"));
	try {
		const list = path.join(scratch, "list.json");
		const args = ["list", `--json=${list}`, ...(await filesWithCases())];
		await promisify(execFile)(process.execPath, [VITEST, ...args], {
			...{ cwd: ROOT, env: { ...process.env, VITEST: undefined } },
		});
		return countCases(JSON.parse(await readFile(list, "utf8")));
	} finally {
		await rm(scratch, { recursive: true });
	}
}

/** Others need not be loaded, which is most of the time. */
async function filesWithCases(): Promise<string[]> {
	const files: string[] = [];
	for (const name of await readdir(TESTS, { recursive: true })) {
		const file = path.join(TESTS, name);
		if (
			name.endsWith(".test.ts") &&
			/\bcases? [\d$%]/.test(await readFile(file, "utf8"))
		)
			files.push(file);
	}
	return files;
}

const NATIVE_LEVEL = /\bnative (?:avx512|avx2|neon|scalar)\b/;

function countCases(
	tests: readonly { name: string; file: string }[],
): CaseTests {
	const cases = new Map<number, Map<string, number>>();
	const counted = new Set<string>();
	for (const { name, file } of tests) {
		const anywhere = `${file} ${name.replace(NATIVE_LEVEL, "native")}`;
		if (NATIVE_LEVEL.test(name) && counted.has(anywhere)) continue;
		counted.add(anywhere);
		for (const number of casesOf(name)) {
			const files = cases.get(number) ?? new Map<string, number>();
			const relative = path.relative(TESTS, file).split(path.sep).join("/");
			cases.set(number, files.set(relative, (files.get(relative) ?? 0) + 1));
		}
	}
	for (const [number, files] of cases)
		cases.set(number, new Map([...files].sort(([a], [b]) => (a < b ? -1 : 1))));
	return cases;
}

/** `case 12: …`, `cases 12, 13: …` or `case 12 'folder' …`, anywhere in a full name. */
export function casesOf(name: string): number[] {
	const found = /\bcases? (\d+(?:, \d+)*)(?=:| ')/.exec(name)?.[1];
	return found?.split(", ").map(Number) ?? [];
}
