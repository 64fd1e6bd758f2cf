import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { openHub } from "../hub/open-hub.ts";
import {
	bytesOf,
	filesOfFolder,
	type StoredBytes,
} from "../hub/stored-bytes.ts";
import { type Form, modelFiles, WEIGHT_BYTES } from "./model-files.ts";
import { cleanEnvironment } from "./model-hub.ts";
import { FIXTURES, memoryFolder, run } from "./run.ts";

vi.setConfig({ testTimeout: 60_000 });
const [BASE, DELTA] = ["meta/llama", "lmsys/vicuna-delta"];
const SIDES = ["--base", BASE, "--delta", DELTA];
const CONVENTION = ["--convention", "fastchat-v1.1"];
const BIN = path.join(import.meta.dirname, "../../dist/bin/merge-delta.cjs");
const STORE = /^GET http:\/\/localhost/;

let cache: string;
beforeEach(async () => {
	cache = path.join(await cleanEnvironment(), "cache"); // not there yet
	vi.stubEnv("HF_HUB_CACHE", cache);
});

type Files = Awaited<ReturnType<typeof filesOfFolder>>;

async function hubOf(base: Files, delta: Files) {
	const hub = await openHub({
		repos: { [BASE]: { files: base }, [DELTA]: { files: delta } },
	});
	vi.stubEnv("HF_ENDPOINT", hub.endpoint);
	return hub;
}

async function writeFolder(files: Record<string, Uint8Array | string>) {
	const folder = await memoryFolder();
	for (const [name, content] of Object.entries(files)) {
		await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
		await writeFile(path.join(folder, name), content);
	}
	return folder;
}

async function merge(sides: readonly string[], ...flags: string[]) {
	const folder = await memoryFolder();
	const out = path.join(folder, "out");
	return { folder, out, ...(await run(...sides, "--out", out, ...flags)) };
}

async function sumsOf(folder: string): Promise<string> {
	const text = await readFile(path.join(folder, "SHA256SUMS"), "utf8");
	return text.replace(/.*merge-delta.json\n/, ""); // which tells the repositories
}

const FORMS: [Form, Form][] = [
	["safetensors", "safetensors"],
	["safetensors", "torch"],
	["safetensors", "legacy torch"],
	["torch", "safetensors"],
];

describe.each(FORMS)("%s and a delta as %s", (ofBase, ofDelta) => {
	test.each([
		["--no-store", ["models--meta--llama"]],
		["--no-store=base", ["models--lmsys--vicuna-delta"]],
		["--no-store=both", null],
	])("%s gives the same bytes", async (flag, cached) => {
		const [base, delta] = [
			modelFiles("base", ofBase),
			modelFiles("delta", ofDelta),
		];
		const hub = await hubOf(base, delta);
		const remote = await merge(SIDES, ...CONVENTION, flag);
		const local = await merge(
			[
				...["--base", await writeFolder(base)],
				...["--delta", await writeFolder(delta)],
			],
			...CONVENTION,
		);
		expect(remote.stderr).not.toContain("error");
		expect(remote.exitCode).toBe(0);
		expect(await sumsOf(remote.out)).toBe(await sumsOf(local.out));
		expect((await run("verify", remote.out)).exitCode).toBe(0);
		const names = await readdir(cache).catch(() => null);
		expect(names).toEqual(cached);
		expect(hub.requestedBytes(/vicuna-delta/)).toBeLessThan(1.3 * WEIGHT_BYTES);
		const text = await readFile(
			path.join(remote.out, "merge-delta.json"),
			"utf8",
		);
		for (const { sha256, commit } of JSON.parse(text).inputs) {
			expect(sha256).toMatch(/^[0-9a-f]{64}$/);
			expect(commit).toMatch(/^[0-9a-f]{40}$/);
		}
	});
});

/** Folders whose merges want bytes in another order than they come: rows before their turn, twice, in strides. */
const CASES = [
	...["alpaca", "alpaca-farm-pad", "billa", "husky", "llava", "panda"],
	...["wizardlm", "xor", "yulan"],
].map((name): [string, string, string, string[]] => {
	const folder = path.join(FIXTURES, "conventions", name);
	const { convention, flags } = JSON.parse(
		readFileSync(path.join(folder, "case.json"), "utf8"),
	);
	return [
		name,
		path.join(folder, "base"),
		path.join(folder, "delta"),
		["--convention", convention, ...flags],
	];
});
const TORCH = path.join(FIXTURES, "torch/merge");

test.each([
	...CASES,
	[
		"strided views",
		...([path.join(TORCH, "base"), path.join(TORCH, "delta")] as const),
		["--convention", "add"],
	] as [string, string, string, string[]],
])(
	"%s, with nothing stored, is what the folders give",
	async (_, base, delta, flags) => {
		await hubOf(await filesOfFolder(base), await filesOfFolder(delta));
		const remote = await merge(SIDES, ...flags, "--no-store=both");
		const local = await merge(["--base", base, "--delta", delta], ...flags);
		expect(local.exitCode).toBe(0);
		expect(remote.stderr).not.toContain("error");
		expect(await sumsOf(remote.out)).toBe(await sumsOf(local.out));
		await expect(readdir(cache)).rejects.toThrow("ENOENT");
	},
);

describe("a day of the network", () => {
	const base = modelFiles("base", "safetensors");
	const delta = modelFiles("delta", "torch");

	test("resets and expired addresses are lived through", async () => {
		const hub = await hubOf(base, delta);
		hub.fail(STORE, { kind: "reset", afterBytes: 300_000 }, 5);
		hub.fail(STORE, { kind: "expired-url" });
		const { exitCode, out } = await merge(SIDES, ...CONVENTION, "--no-store");
		expect(exitCode).toBe(0);
		expect((await run("verify", out)).exitCode).toBe(0);
	});

	/** Bytes of which one is spoilt, so many times, where all of them are asked for. */
	function spoilt(bytes: Uint8Array) {
		const times = { left: 0 };
		const wrong = new Uint8Array(bytes);
		wrong[600_001] = (wrong[600_001] as number) ^ 1;
		const { byteLength } = bytes;
		const content: StoredBytes = {
			byteLength,
			read: (begin, end) => {
				const isWrong = end - begin === byteLength && times.left-- > 0;
				return bytesOf(isWrong ? wrong : bytes).read(begin, end);
			},
		};
		return { times, content };
	}

	test.each([
		["once is begun once more", 1, 0],
		["twice ends it", 2, 1],
	])("a byte that is spoilt %s", async (_, times, code) => {
		const name = "pytorch_model-00002-of-00002.bin";
		const last = spoilt(delta[name] as Uint8Array);
		await hubOf(base, { ...delta, [name]: last.content });
		last.times.left = times;
		const { exitCode, folder, stderr } = await merge(
			...([SIDES, ...CONVENTION, "--no-store"] as const),
		);
		expect(stderr).toMatch(
			/warning .*00002.bin: other bytes came than were published.*beginning once more/,
		);
		expect(exitCode).toBe(code);
		if (code !== 0) expect(stderr).toMatch(/error .*other bytes came/);
		// What was made of the other file is safe.
		const left = code === 0 ? "out" : "out.merge-delta";
		expect(await readdir(folder)).toEqual([left]);
	});

	test("what was spoilt while planning is begun once more", async () => {
		const name = "model-00001-of-00002.safetensors";
		const hub = await hubOf(base, modelFiles("delta", "safetensors"));
		const at = Buffer.from(base[name] as Uint8Array).indexOf('"pt"') + 1;
		hub.fail(STORE, { kind: "bit-flip", at }, 2);
		const { exitCode, stderr, out } = await merge(
			...([SIDES, ...CONVENTION, "--no-store=both"] as const),
		);
		expect(stderr).toMatch(/byte 0: other bytes came when it was looked into/);
		expect(exitCode).toBe(0);
		expect((await run("verify", out)).exitCode).toBe(0);
	});

	test("killed, it leaves nothing in the cache, and the next run is right", async () => {
		const hub = await hubOf(base, delta);
		const out = path.join(await memoryFolder(), "out");
		const args = [...SIDES, ...CONVENTION, "--no-store=both", "--out", out];
		hub.fail(STORE, { kind: "pass" }, 60);
		hub.fail(STORE, { kind: "stall", afterBytes: 500_000 }, 99);
		const child = spawn(process.execPath, [BIN, ...args], {
			env: { ...process.env, HF_HUB_CACHE: cache },
		});
		const exit = new Promise((resolve) => child.once("exit", resolve));
		await vi.waitFor(
			async () =>
				expect(await readdir(path.dirname(out))).toEqual(["out.merge-delta"]),
			{ timeout: 20_000 },
		);
		child.kill("SIGKILL");
		await exit;
		await expect(readdir(cache)).rejects.toThrow("ENOENT");
		await hubOf(base, delta);
		expect((await run(...args)).exitCode).toBe(0);
		expect((await run("verify", out)).exitCode).toBe(0);
		await expect(readdir(cache)).rejects.toThrow("ENOENT");
	});
});

test("what the cache holds is used all the same", async () => {
	const delta = modelFiles("delta", "safetensors");
	const hub = await hubOf(modelFiles("base", "safetensors"), delta);
	expect((await run("fetch", DELTA)).exitCode).toBe(0);
	hub.requests.length = 0;
	const { exitCode } = await merge(SIDES, ...CONVENTION, "--no-store=both");
	expect(exitCode).toBe(0);
	expect(hub.requestedBytes(/vicuna-delta/)).toBe(0);
	expect(await readdir(cache)).toEqual(["models--lmsys--vicuna-delta"]);
});

test("plan tells what is not stored, and how much disk that leaves", async () => {
	const files = modelFiles("delta", "safetensors");
	await hubOf(modelFiles("base", "safetensors"), files);
	const deltaBytes = Object.values(files).reduce((n, f) => n + f.length, 0);
	const flags = [...SIDES, ...CONVENTION, "--no-store"];
	const { fetch } = JSON.parse((await run("plan", ...flags, "--json")).stdout);
	expect(fetch.passingBytes).toBe(deltaBytes);
	const { stdout } = await run("plan", ...flags);
	expect(stdout).toMatch(
		/fetch 10 files, 8.40 MB, 4.20 MB not stored; 0 B in the cache/,
	);
	expect(stdout).toMatch(/disk 4.20 MB in .*cache, 4.20 MB for the output/);
});
