import { mkdir, readdir } from "node:fs/promises";
import path from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { openHub } from "../hub/open-hub.ts";
import { replaceSystemCall } from "../io/replace-system-call.ts";
import { modelFiles } from "./model-files.ts";
import { run, scratchFolder } from "./run.ts";

const [BASE, DELTA] = ["meta/llama", "lmsys/vicuna-delta"];
// A busy machine takes seconds to load the libraries.
vi.setConfig({ testTimeout: 30_000 });
const [base, delta] = [
	modelFiles("base", "safetensors"),
	modelFiles("delta", "safetensors"),
];
const bytes = [base, delta]
	.flatMap((files) => Object.values(files))
	.reduce((sum, { length }) => sum + length, 0);

/**
 * @param freeBytes  of every disk
 * @param deviceOf   on which of them a file is, or what a folder holds
 */
async function merge(freeBytes: number, deviceOf = (_: string) => 1) {
	const hub = await openHub({
		repos: { [BASE]: { files: base }, [DELTA]: { files: delta } },
	});
	const folder = await scratchFolder();
	const [cache, out] = [path.join(folder, "cache"), path.join(folder, "o/out")];
	await mkdir(path.dirname(out));
	vi.stubEnv("HF_ENDPOINT", hub.endpoint);
	onTestFinished(() => void vi.unstubAllEnvs());
	replaceSystemCall(
		"statfs",
		(before) =>
			(async (file: string) => ({
				...(await before(file)),
				...{ bsize: 1, bavail: freeBytes },
			})) as never,
	);
	replaceSystemCall(
		"stat",
		(before) =>
			(async (file: string, ...rest: never[]) =>
				Object.assign(await before(file, ...rest), {
					dev: deviceOf(file),
				})) as never,
	);
	const sides = ["--base", BASE, "--delta", DELTA, "--cache-dir", cache];
	const convention = ["--convention", "fastchat-v1.1"];
	const ran = await run(...sides, ...convention, "--out", out);
	return { ...ran, out, folder };
}

/** The output's shards are as long as the base's, and a little room is left. */
const OUT_BYTES = Object.entries(base)
	.filter(([name]) => name.endsWith(".safetensors"))
	.reduce((sum, [, { length }]) => sum + Math.ceil(1.01 * length), 0);

test("cache and output on one disk need room for both", async () => {
	const enough = await merge(bytes + OUT_BYTES + 10_000);
	expect(enough.exitCode).toBe(0);
	const { exitCode, stderr, folder } = await merge(bytes + OUT_BYTES - 10_000);
	expect(exitCode).toBe(6);
	expect(stderr).toMatch(
		/not enough space for the output and what is to be fetched, expected \d+ free bytes, found \d+. Free \d+ bytes, or name another disk with --out or --cache-dir/,
	);
	expect(await readdir(folder)).toEqual(["o"]);
	expect(await readdir(path.join(folder, "o"))).toEqual([]);
});

test("on two disks each needs its own", async () => {
	const deviceOf = (file: string) => (/\/o(\/|$)/.test(file) ? 2 : 1);
	const enough = await merge(bytes + 10_000, deviceOf);
	expect(enough.exitCode).toBe(0);
	const { exitCode, stderr, folder } = await merge(bytes - 10_000, deviceOf);
	expect(exitCode).toBe(6);
	expect(stderr).toMatch(/not enough space for what is to be fetched, /);
	expect(await readdir(folder)).toEqual(["o"]);
});
