import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import path from "node:path";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { neededFiles } from "../../src/checkpoint/needed-files.ts";
import type { LocalHub, LocalHubOptions } from "../hub/local-hub.ts";
import { openHub } from "../hub/open-hub.ts";
import { filesOfFolder } from "../hub/stored-bytes.ts";
import { FIXTURES, run, scratchFolder } from "./run.ts";

const LLAMA = path.join(FIXTURES, "llama-f16");
const BASE = "meta/llama";
const DELTA = "lmsys/vicuna-delta";
const TOKEN = "hf_secret_token";
const STORE = /^GET http:\/\/localhost/;

async function modelHub(options: Partial<LocalHubOptions> = {}) {
	const hub = await openHub({
		repos: {
			[BASE]: {
				files: await filesOfFolder(path.join(LLAMA, "base")),
				gated: true,
			},
			[DELTA]: { files: await filesOfFolder(path.join(LLAMA, "delta")) },
		},
		tokens: { [TOKEN]: [BASE], hf_stranger: [] },
		...options,
	});
	vi.stubEnv("HF_ENDPOINT", hub.endpoint);
	return hub;
}

const SIDES = ["--base", BASE, "--delta", DELTA];
let cache: string;
beforeEach(async () => {
	for (const name of Object.keys(process.env))
		if (/^(HF_|HUGGING|TRANSFORMERS_|XDG_)/.test(name))
			vi.stubEnv(name, undefined);
	cache = await scratchFolder();
	vi.stubEnv("HF_HUB_CACHE", cache);
	vi.stubEnv("HF_HOME", cache);
	vi.stubEnv("HF_TOKEN", TOKEN);
	onTestFinished(() => void vi.unstubAllEnvs());
});

async function merge(sides: readonly string[], ...flags: string[]) {
	const out = path.join(await scratchFolder(), "out");
	return { out, ...(await run(...sides, "--out", out, ...flags)) };
}

async function filesOf(folder: string) {
	const names = (await readdir(folder)).filter(
		(n) => !/merge-delta|SHA256/.test(n),
	);
	return Promise.all(
		names
			.sort()
			.map(async (name) => [
				name,
				(await readFile(path.join(folder, name))).toString("base64"),
			]),
	);
}

/** The token went to the hub alone, and nothing that was said shows it or a signature. */
function expectDiscretion(hub: LocalHub, ...said: string[]) {
	expect(hub.requests.some(({ headers }) => headers.authorization)).toBe(true);
	for (const { origin, headers } of hub.requests)
		if (origin === "cdn") expect(JSON.stringify(headers)).not.toContain(TOKEN);
	for (const text of said)
		expect(text).not.toMatch(/hf_secret_token|Signature=|Policy=/);
}

describe("merge from two repositories", () => {
	test("gives what the same folders give, and says where from", {
		timeout: 60_000,
	}, async () => {
		const hub = await modelHub();
		const remote = await merge(SIDES);
		expect(remote.stderr).not.toContain("error");
		expect(remote.exitCode).toBe(0);
		const local = await merge([
			"--base",
			path.join(LLAMA, "base"),
			"--delta",
			path.join(LLAMA, "delta"),
		]);
		expect(await filesOf(remote.out)).toEqual(await filesOf(local.out));

		const text = await readFile(
			path.join(remote.out, "merge-delta.json"),
			"utf8",
		);
		const { inputs } = JSON.parse(text);
		expect(inputs.length).toBeGreaterThan(2);
		for (const { from, repository, commit } of inputs) {
			expect(repository).toBe(from === "base" ? BASE : DELTA);
			expect(commit).toBe(hub.commitOf(repository));
		}
		expect(text).not.toContain(cache);
		expectDiscretion(hub, remote.stdout, remote.stderr, text);
		expect((await run("verify", remote.out)).exitCode).toBe(0);
	});

	test("survives a bad day of the network", { timeout: 60_000 }, async () => {
		const hub = await modelHub();
		hub.fail(/\/tree\//, { kind: "rate-limited", retryAfter: "0" });
		hub.fail(STORE, { kind: "reset", afterBytes: 700 }, 2);
		hub.fail(STORE, { kind: "expired-url" });
		hub.fail(STORE, { kind: "bit-flip", at: 800 });
		const { exitCode, out } = await merge(SIDES);
		expect(exitCode).toBe(0);
		expect((await run("verify", out)).exitCode).toBe(0);
	});

	test("offline, from the cache alone", async () => {
		const hub = await modelHub();
		expect((await run("fetch", BASE)).exitCode).toBe(0);
		expect((await run("fetch", DELTA)).exitCode).toBe(0);
		const asked = hub.requests.length;
		const connect = vi.spyOn(globalThis, "fetch");
		onTestFinished(() => connect.mockRestore());
		for (const offline of [
			() => vi.stubEnv("HF_HUB_OFFLINE", "1"),
			() => vi.stubEnv("HF_HUB_OFFLINE", undefined),
		]) {
			offline();
			const flags = process.env.HF_HUB_OFFLINE ? [] : ["--offline"];
			const { exitCode } = await merge(SIDES, ...flags);
			expect(exitCode).toBe(0);
		}
		expect(connect).not.toHaveBeenCalled();
		expect(hub.requests.length).toBe(asked);
	});

	test("offline, what was not fetched is an error", async () => {
		const hub = await modelHub();
		const { exitCode, stderr } = await merge(SIDES, "--offline");
		expect(exitCode).toBe(5);
		expect(stderr).toMatch(/^error meta\/llama: not in the cache .+\n$/);
		expect(hub.requests).toEqual([]);
	});

	test("a base without access is told before the delta's weights are fetched", async () => {
		const hub = await modelHub();
		vi.stubEnv("HF_TOKEN", "hf_stranger");
		const { exitCode, stderr } = await merge(SIDES);
		expect(exitCode).toBe(5);
		expect(stderr).toMatch(
			/gated, .*Accept its licence on the page of meta\/llama/,
		);
		expect(stderr).not.toContain("hf_stranger");
		expect(
			hub.requests.filter(({ origin }) => origin === "cdn").length,
		).toBeLessThan(5);
	});

	test("a cache that another program has spoilt is found out, and nothing published", async () => {
		await modelHub();
		expect((await run("fetch", DELTA)).exitCode).toBe(0);
		const blobs = path.join(cache, "models--lmsys--vicuna-delta", "blobs");
		const weights = (await readdir(blobs)).filter((name) => name.length === 64);
		for (const name of weights) {
			const bytes = await readFile(path.join(blobs, name));
			bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
			await writeFile(path.join(blobs, name), bytes);
		}
		const { exitCode, stderr, out } = await merge(SIDES);
		expect(exitCode).toBe(1);
		expect(stderr).toContain("the cache holds other bytes than were published");
		await expect(readdir(out)).rejects.toThrow("ENOENT");
	});

	test("an output that exists is told before anything is fetched", async () => {
		const hub = await modelHub();
		const out = await scratchFolder();
		await writeFile(path.join(out, "x"), "");
		const { exitCode } = await run(...SIDES, "--out", out);
		expect(exitCode).toBe(8);
		expect(hub.requests).toEqual([]);
	});
});

describe("the other commands", () => {
	test("fetch brings a revision and tells its files", async () => {
		const hub = await modelHub();
		const commit = hub.commitOf(DELTA);
		const { exitCode, stdout } = await run(
			"fetch",
			`${DELTA}@${commit}`,
			"--json",
		);
		expect(exitCode).toBe(0);
		const told = JSON.parse(stdout);
		expect(told).toMatchObject({ ok: true, repository: DELTA, commit });
		expect(await readdir(told.folder)).toEqual(
			told.files.map((f: { path: string }) => f.path).sort(),
		);
		const again = await run("fetch", DELTA);
		expect(again.stdout).toContain("was there");
		expect(again.stdout).not.toContain(" fetched ");
	});

	test("plan and inspect take a repository", async () => {
		const hub = await modelHub();
		const planned = await run("plan", ...SIDES, "--json");
		expect(planned.exitCode).toBe(0);
		const local = await run(
			"plan",
			"--base",
			path.join(LLAMA, "base"),
			"--delta",
			path.join(LLAMA, "delta"),
			"--json",
		);
		expect(JSON.parse(planned.stdout).planId).toBe(
			JSON.parse(local.stdout).planId,
		);
		vi.stubEnv("HF_HUB_CACHE", path.join(cache, "empty"));
		hub.requests.length = 0;
		const inspected = await run("inspect", DELTA, "--json");
		// Headers only (the shards have 20 to 40 kB), and nothing stored.
		for (const { origin, headers } of hub.requests)
			if (origin === "cdn")
				expect(Number(headers.range?.split("-").at(-1))).toBeLessThan(6000);
		await expect(readdir(path.join(cache, "empty"))).rejects.toThrow("ENOENT");
		expect(JSON.parse(inspected.stdout).totals).toEqual(
			JSON.parse(
				(await run("inspect", path.join(LLAMA, "delta"), "--json")).stdout,
			).totals,
		);
	});

	test("a folder of the same name is the folder", async () => {
		const hub = await modelHub();
		const here = await scratchFolder();
		await mkdir(path.join(here, DELTA), { recursive: true });
		const cwd = vi.spyOn(process, "cwd").mockReturnValue(here);
		onTestFinished(() => cwd.mockRestore());
		const { exitCode, stderr } = await run("inspect", path.join(here, DELTA));
		expect(exitCode).toBe(3);
		expect(stderr).toContain("no weight file");
		expect(hub.requests).toEqual([]);
	});

	test.each([
		["a repository that is not there", "no/such", "no such repository", 2],
		["a revision that is not there", `${DELTA}@v9`, "no such revision", 2],
		["what is no repository", "a/b/c", "not the name of a repository", 2],
	])("%s", async (_, repo, says, code) => {
		await modelHub();
		vi.stubEnv("HF_TOKEN", undefined);
		const { exitCode, stderr } = await run("fetch", repo);
		expect(stderr).toContain(says);
		expect(exitCode).toBe(code);
	});

	test("a Hub that nobody runs is exit code 5, in one line", async () => {
		const server = createServer().listen(0, "127.0.0.1");
		await new Promise((resolve) => server.once("listening", resolve));
		const { port } = server.address() as { port: number };
		await new Promise((resolve) => server.close(resolve));
		vi.stubEnv("HF_ENDPOINT", `http://127.0.0.1:${port}`);
		const random = vi.spyOn(Math, "random").mockReturnValue(0);
		onTestFinished(() => random.mockRestore());
		const { exitCode, stderr } = await run("fetch", DELTA);
		expect(exitCode).toBe(5);
		expect(stderr).toMatch(/^error .*ECONNREFUSED.*goes on from here\n$/);
	});
});

describe("which files of a repository are needed", () => {
	const SIDE = ["config.json", "tokenizer.model", "tokenizer_config.json"];
	const other = [
		"README.md",
		".gitattributes",
		"onnx/model.onnx",
		"tf_model.h5",
		"training_args.bin",
	];
	test.each([
		[
			"one format, the preferred one",
			[
				"model-00001-of-00002.safetensors",
				"model-00002-of-00002.safetensors",
				"model.safetensors.index.json",
			],
			[
				"pytorch_model.bin",
				"consolidated.safetensors",
				"original/consolidated.00.pth",
			],
		],
		[
			"one file",
			["model.safetensors"],
			["adapter.safetensors", "pytorch_model.bin"],
		],
		[
			"torch files",
			["pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json"],
			["flax_model.msgpack"],
		],
		[
			"files of LLaMA's own",
			["consolidated.00.pth", "consolidated.01.pth"],
			[],
		],
		[
			"encoded files",
			["pytorch_model-00001-of-00001.bin.0123.enc", "config.json.0123.enc"],
			[],
		],
		[
			"encoded files in a folder",
			["xor_encoded_files/pytorch_model.bin", "oasst-xor/config.json"],
			["images/x.png"],
		],
	])("%s", (_, wanted, unwanted) => {
		const all = [...SIDE, ...wanted, ...unwanted, ...other];
		expect(neededFiles(all).sort()).toEqual([...SIDE, ...wanted].sort());
	});

	test("none without weights", () =>
		expect(neededFiles([...SIDE, ...other])).toEqual([]));
});
