import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { openHub } from "../hub/open-hub.ts";
import {
	type Form,
	MATRIX_BYTES,
	modelFiles,
	WEIGHT_BYTES,
} from "./model-files.ts";
import { cleanEnvironment } from "./model-hub.ts";
import { memoryFolder, run } from "./run.ts";

const [BASE, DELTA] = ["meta/llama", "lmsys/vicuna-delta"];
const SIDES = ["--base", BASE, "--delta", DELTA];
const CONVENTION = ["--convention", "fastchat-v1.1"];
const STORE = /^GET http:\/\/localhost/;
const FORMS: Form[] = ["safetensors", "torch", "legacy torch"];
/** Headers, and samples of 64 kB in 1 MB, with what lies between two that are close. */
const LOOKED_AT_BYTES = 0.1 * WEIGHT_BYTES;

vi.setConfig({ testTimeout: 30_000 });

let cache: string;
beforeEach(async () => {
	cache = path.join(await cleanEnvironment(), "cache"); // not there yet
	vi.stubEnv("HF_HUB_CACHE", cache);
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
	const folder = await memoryFolder();
	for (const [name, content] of Object.entries(files)) {
		await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
		await writeFile(path.join(folder, name), content);
	}
	return folder;
}

async function merge(sides: readonly string[], ...flags: string[]) {
	const out = path.join(await memoryFolder(), "out");
	const sofar = ["--out", out, ...CONVENTION, ...flags];
	return { out, ...(await run(...sides, ...sofar)) };
}

async function sumsOf(folder: string): Promise<string> {
	const text = await readFile(path.join(folder, "SHA256SUMS"), "utf8");
	return text.replace(/.*merge-delta.json\n/, ""); // which tells the repositories
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
		expect(hub.requestedBytes()).toBeGreaterThan(1000);
		expect(hub.requestedBytes()).toBeLessThan(2 * LOOKED_AT_BYTES);
		await expect(readdir(cache)).rejects.toThrow("ENOENT");

		const all = [base, delta].flatMap((files) => Object.values(files));
		const bytes = all.reduce((sum, { length }) => sum + length, 0);
		expect(fetch).toEqual({
			...{ cacheDir: cache, files: 10, byteLength: bytes },
			...{ passingBytes: 0, cachedBytes: 0 },
		});
		expect(writeBytes).toBeGreaterThan(WEIGHT_BYTES);
		const told = await run("plan", ...SIDES, ...CONVENTION);
		expect(told.stdout).toMatch(
			/^time under a second at 10\.0 MB\/s, under a second at 100 MB\/s/m,
		);
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
		expect(hub.requestedBytes()).toBeLessThan(300_000); // 128 kB of each torch file of the old form
		await expect(readdir(cache)).rejects.toThrow("ENOENT");
	});
});

describe("before any weights are fetched", () => {
	const base = modelFiles("base", "safetensors");
	const delta = modelFiles("delta", "safetensors");

	const only = (name: string, bytes: Uint8Array | string = "{}"): Files => ({
		[name]: bytes,
	});
	const cut = (
		delta["model-00001-of-00002.safetensors"] as Uint8Array
	).subarray(0, MATRIX_BYTES);

	test.each<[string, Files, Files, number, RegExp]>([
		["one model twice", base, base, 4, /the same/],
		[
			"full weights for a delta",
			...([base, modelFiles("other", "safetensors")] as const),
			...([4, /full weights|not a delta/] as const),
		],
		[
			"a delta of other shapes",
			...([base, modelFiles("delta", "safetensors", [1024, 1024])] as const),
			...([4, /1024/] as const),
		],
		[
			"an adapter",
			...([base, only("adapter_model.safetensors", cut)] as const),
			...([3, /cut short/] as const),
		],
		["no weights", base, only("config.json"), 3, /no weight file/],
		[
			"a file that is cut off",
			...([base, only("model.safetensors", cut)] as const),
			...([3, /byte 1048576: data is cut short/] as const),
		],
	])("%s is refused, as from folders", async (_, base, delta, code, says) => {
		const hub = await hubOf(base, delta);
		const remote = await merge(SIDES);
		const local = await merge([
			...["--base", await writeFolder(base)],
			...["--delta", await writeFolder(delta)],
		]);
		for (const { exitCode, stderr, out } of [remote, local]) {
			expect(stderr).toMatch(says);
			expect(exitCode).toBe(code);
			await expect(readdir(out)).rejects.toThrow("ENOENT");
		}
		expect(hub.requestedBytes()).toBeLessThan(2 * LOOKED_AT_BYTES);
		await expect(readdir(cache)).rejects.toThrow("ENOENT");
	});
});

describe("merge", () => {
	test.each(FORMS)("of %s gives what the folders give", async (form) => {
		const [base, delta] = [modelFiles("base", form), modelFiles("delta", form)];
		const hub = await hubOf(base, delta);
		const remote = await merge(SIDES);
		const local = await merge([
			...["--base", await writeFolder(base)],
			...["--delta", await writeFolder(delta)],
		]);
		expect(remote.exitCode).toBe(0);
		expect(await sumsOf(remote.out)).toEqual(await sumsOf(local.out));

		hub.requests.length = 0;
		const planned = await run("plan", ...SIDES, ...CONVENTION, "--json");
		const { fetch } = JSON.parse(planned.stdout);
		expect(fetch).toMatchObject({ files: 0, byteLength: 0 });
		expect(fetch.cachedBytes).toBeGreaterThan(2 * WEIGHT_BYTES);
		const again = await merge(SIDES);
		expect(again.exitCode).toBe(0);
		expect(hub.requestedBytes()).toBe(0);
	});

	test("of a folder and a repository fetches only that", async () => {
		const base = modelFiles("base", "safetensors");
		const hub = await hubOf(base, modelFiles("delta", "safetensors"));
		const folder = await writeFolder(base);
		const sides = ["--base", folder, "--delta", DELTA];
		const mixed = await merge(sides);
		expect(mixed.exitCode).toBe(0);
		expect(await sumsOf(mixed.out)).toEqual(
			await sumsOf((await merge(SIDES)).out),
		);
		hub.requests.length = 0;
		const made = await run(
			...["make", "--base", folder, "--target", DELTA],
			...["--out", path.join(await memoryFolder(), "out"), ...CONVENTION],
		);
		expect(made.exitCode).toBe(0);
		expect(hub.requests.every(({ url }) => url.includes("vicuna"))).toBe(true);
	});

	test("takes what the cache holds of another commit", async () => {
		const delta = modelFiles("delta", "safetensors");
		const hub = await hubOf(modelFiles("base", "safetensors"), delta);
		expect((await run("fetch", DELTA)).exitCode).toBe(0);
		await hub.commit(DELTA, { ...delta, "README.md": "Now with a card" });
		hub.requests.length = 0;
		const { exitCode } = await merge(SIDES);
		expect(exitCode).toBe(0);
		const asked = hub.requests.filter(({ origin }) => origin === "cdn");
		expect(asked.length).toBeGreaterThan(0);
		expect(asked.every(({ url }) => !url.includes("vicuna"))).toBe(true);
	});

	test("what was spoilt on its way while planning is found out, and all begun anew", async () => {
		const base = modelFiles("base", "safetensors");
		const hub = await hubOf(base, modelFiles("delta", "safetensors"));
		// A letter of the metadata, which no plan depends on.
		const first = base["model-00001-of-00002.safetensors"] as Uint8Array;
		const at = Buffer.from(first).indexOf('"pt"') + 1;
		hub.fail(STORE, { kind: "bit-flip", at });
		const { exitCode, stderr, out } = await merge(SIDES);
		expect(stderr).toMatch(
			/warning meta\/llama@\w+, model-0000\d-of-00002\.safetensors, byte 0: other bytes came .* beginning once more/,
		);
		expect(exitCode).toBe(0);
		expect((await run("verify", out)).exitCode).toBe(0);
	});
});
