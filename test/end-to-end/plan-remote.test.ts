import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import type { LocalHub } from "../hub/local-hub.ts";
import { openHub } from "../hub/open-hub.ts";
import { filesOfFolder } from "../hub/stored-bytes.ts";
import { type Form, modelFiles, WEIGHT_BYTES } from "./model-files.ts";
import { FIXTURES, run, scratchFolder } from "./run.ts";

const [BASE, DELTA] = ["meta/llama", "lmsys/vicuna-delta"];
const SIDES = ["--base", BASE, "--delta", DELTA];
const CONVENTION = ["--convention", "fastchat-v1.1"];
const FORMS: Form[] = ["safetensors", "torch", "legacy torch"];
/** Headers, and samples of 64 kB in 1 MB, with what lies between two that are close. */
const LOOKED_AT_BYTES = 0.1 * WEIGHT_BYTES;

let cache: string;
beforeEach(async () => {
	for (const name of Object.keys(process.env))
		if (/^(HF_|HUGGING|TRANSFORMERS_|XDG_)/.test(name))
			vi.stubEnv(name, undefined);
	cache = path.join(await scratchFolder(), "cache");
	vi.stubEnv("HF_HUB_CACHE", cache);
	vi.stubEnv("HF_HOME", cache);
	onTestFinished(() => void vi.unstubAllEnvs());
});

type Files = Record<string, Uint8Array | string>;

async function hubOf(base: Files, delta: Files) {
	const hub = await openHub({
		repos: { [BASE]: { files: base }, [DELTA]: { files: delta } },
	});
	vi.stubEnv("HF_ENDPOINT", hub.endpoint);
	return hub;
}

async function writeFolder(files: Files): Promise<string> {
	const folder = await scratchFolder();
	for (const [name, content] of Object.entries(files)) {
		await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
		await writeFile(path.join(folder, name), content);
	}
	return folder;
}

/** Bytes that the store was asked for. */
function askedBytes({ requests }: LocalHub): number {
	return requests
		.filter(({ origin }) => origin === "cdn")
		.map(({ headers }) => /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? ""))
		.reduce((sum, range) => sum + Number(range?.[2]) - Number(range?.[1]) + 1, 0);
}

async function merge(sides: readonly string[], ...flags: string[]) {
	const out = path.join(await scratchFolder(), "out");
	const sofar = ["--out", out, ...CONVENTION, ...flags];
	return { out, ...(await run(...sides, ...sofar)) };
}

describe.each(FORMS)("plan of %s on the Hub", (form) => {
	test("is that of the same folders, by headers and samples, and stores nothing", async () => {
		const [base, delta] = [modelFiles("base", form), modelFiles("delta", form)];
		const hub = await hubOf(base, delta);
		const remote = await run("plan", ...SIDES, ...CONVENTION, "--json");
		expect(remote.stderr).toBe("");
		const { planId, fetch, writeBytes } = JSON.parse(remote.stdout);
		const folders = [
			...["--base", await writeFolder(base)],
			...["--delta", await writeFolder(delta)],
		];
		const local = await run("plan", ...folders, ...CONVENTION, "--json");
		expect(planId).toBe(JSON.parse(local.stdout).planId);
		expect(askedBytes(hub)).toBeGreaterThan(1000);
		expect(askedBytes(hub)).toBeLessThan(2 * LOOKED_AT_BYTES);
		await expect(readdir(cache)).rejects.toThrow("ENOENT");

		const all = [base, delta].flatMap((files) => Object.values(files));
		const bytes = all.reduce((sum, { length }) => sum + length, 0);
		expect(fetch).toEqual({
			...{ cacheDir: cache, files: 10, byteLength: bytes, cachedBytes: 0 },
		});
		expect(writeBytes).toBeGreaterThan(WEIGHT_BYTES);
	});

	test("inspect reads headers alone", async () => {
		const base = modelFiles("base", form);
		const hub = await hubOf(base, base);
		const remote = await run("inspect", BASE, "--json");
		const local = await run("inspect", await writeFolder(base), "--json");
		const [found, expected] = [remote, local].map(({ stdout }) =>
			JSON.parse(stdout),
		);
		expect({ ...found, location: "" }).toEqual({ ...expected, location: "" });
		expect(askedBytes(hub)).toBeLessThan(300_000); // 128 kB of each torch file of the old form
		await expect(readdir(cache)).rejects.toThrow("ENOENT");
	});
});

describe("before any weights are fetched", () => {
	const base = modelFiles("base", "safetensors");
	const delta = modelFiles("delta", "safetensors");

	test.each([
		["the same model twice", base, base, CONVENTION, 4],
		["full weights for a delta", delta, base, CONVENTION, 4],
		[
			"a delta of other shapes",
			base,
			modelFiles("delta", "safetensors", [1024, 1024]),
			CONVENTION,
			4,
		],
		[
			"an adapter",
			base,
			{
				"adapter_config.json": "{}",
				"adapter_model.safetensors": delta[
					"model-00001-of-00002.safetensors"
				] as Uint8Array,
			},
			CONVENTION,
			null,
		],
		["no weights", base, { "config.json": "{}" }, CONVENTION, 3],
		[
			"a file that is cut off",
			base,
			{
				"model.safetensors": (
					delta["model-00001-of-00002.safetensors"] as Uint8Array
				).subarray(0, WEIGHT_BYTES / 4),
			},
			CONVENTION,
			3,
		],
	] as [string, Files, Files, string[], number | null][])(
		"%s is refused, as from folders",
		async (_, base, delta, flags, code) => {
			const hub = await hubOf(base, delta);
			const remote = await merge(SIDES, ...flags);
			const folders = [
				...["--base", await writeFolder(base)],
				...["--delta", await writeFolder(delta)],
			];
			const local = await merge(folders, ...flags);
			expect(remote.exitCode).toBe(local.exitCode);
			if (code !== null) expect(remote.exitCode).toBe(code);
			expect(remote.exitCode).not.toBe(0);
			const said = (stderr: string) =>
				stderr.replace(/(\/\S+|(meta|lmsys)\/\S+)( and \S+)?[:,]?/g, "…");
			expect(said(remote.stderr)).toBe(said(local.stderr));
			expect(askedBytes(hub)).toBeLessThan(2 * LOOKED_AT_BYTES);
			await expect(readdir(remote.out)).rejects.toThrow("ENOENT");
			await expect(readdir(cache)).rejects.toThrow("ENOENT");
		},
	);
});
