import { spawn } from "node:child_process";
import { once } from "node:events";
import {
	mkdir,
	readdir,
	readFile,
	rename,
	symlink,
	writeFile,
} from "node:fs/promises";
import { createServer, Socket } from "node:net";
import path from "node:path";
import { text } from "node:stream/consumers";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { neededFiles } from "../../src/checkpoint/needed-files.ts";
import type { LocalHub } from "../hub/local-hub.ts";
import { openProxy } from "../hub/proxy.ts";
import { AUTHORITY, putBehindTls } from "../hub/tls-front.ts";
import {
	BASE,
	cleanEnvironment,
	DELTA,
	LLAMA,
	modelHub,
	STORE,
	TARGET,
	TOKEN,
} from "./model-hub.ts";
import { memoryFolder, run } from "./run.ts";

vi.setConfig({ testTimeout: 30_000 });

const SIDES = ["--base", BASE, "--delta", DELTA];
let cache: string;
beforeEach(async () => {
	cache = await cleanEnvironment();
	vi.stubEnv("HF_TOKEN", TOKEN);
});

async function merge(sides: readonly string[], ...flags: string[]) {
	const out = path.join(await memoryFolder(), "out");
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

/** The command in a process of its own, as it was built. */
function startProcess(...args: string[]) {
	const bin = new URL("../../dist/bin/merge-delta.cjs", import.meta.url);
	const child = spawn(process.execPath, [fileURLToPath(bin), ...args]);
	onTestFinished(() => void child.kill("SIGKILL"));
	return child;
}

async function runProcess(...args: string[]) {
	const child = startProcess(...args);
	const [stdout, stderr, [exitCode]] = await Promise.all([
		...([text(child.stdout), text(child.stderr)] as const),
		once(child, "close"),
	]);
	return { stdout, stderr, exitCode };
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
	test("case 196: gives what the same folders give, says where from, and shows no token", {
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

	test("cases 175, 189, 190, 195: survives a bad day of the network", {
		timeout: 60_000,
	}, async () => {
		const hub = await modelHub();
		hub.fail(/\/tree\//, { kind: "rate-limited", retryAfter: "0" });
		hub.fail(STORE, { kind: "reset", afterBytes: 700 }, 2);
		hub.fail(STORE, { kind: "expired-url" });
		hub.fail(STORE, { kind: "bit-flip", at: 800 });
		const { exitCode, out } = await merge(SIDES);
		expect(exitCode).toBe(0);
		expect((await run("verify", out)).exitCode).toBe(0);
	});

	test("case 203: offline, from the cache alone, without a socket", async () => {
		const hub = await modelHub();
		expect((await run("fetch", BASE)).exitCode).toBe(0);
		expect((await run("fetch", DELTA)).exitCode).toBe(0);
		const asked = hub.requests.length;
		const connect = vi.spyOn(Socket.prototype, "connect");
		const fetched = vi.spyOn(globalThis, "fetch");
		onTestFinished(() => void vi.restoreAllMocks());
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
		expect(fetched).not.toHaveBeenCalled();
		expect(hub.requests.length).toBe(asked);
	});

	test("case 203: offline, what was not fetched is an error", async () => {
		const hub = await modelHub();
		const { exitCode, stderr, out } = await merge(SIDES, "--offline");
		expect(exitCode).toBe(5);
		await expect(readdir(out)).rejects.toThrow("ENOENT");
		expect(stderr).toMatch(/^error meta\/llama: not in the cache .+\n$/);
		expect(hub.requests).toEqual([]);
	});

	test("case 192: a base without access is told before the delta's weights are fetched", async () => {
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
		const out = await memoryFolder();
		await writeFile(path.join(out, "x"), "");
		const { exitCode } = await run(...SIDES, "--out", out);
		expect(exitCode).toBe(8);
		expect(hub.requests).toEqual([]);
	});
});

describe("flags", () => {
	test("case 196: --token comes before HF_TOKEN, and shows nowhere", async () => {
		const hub = await modelHub();
		vi.stubEnv("HF_TOKEN", "hf_stranger");
		const flags = ["--token", TOKEN, "--verbose"];
		const { exitCode, stdout, stderr, out } = await merge(SIDES, ...flags);
		expect(exitCode, stderr).toBe(0);
		const manifest = await readFile(path.join(out, "merge-delta.json"), "utf8");
		expectDiscretion(hub, stdout, stderr, manifest);
		vi.stubEnv("HF_HUB_CACHE", path.join(cache, "other"));
		hub.fail(/resolve/, { kind: "status", status: 418 }, 99);
		const failed = await run("fetch", BASE, ...flags, "--json");
		expect(failed.exitCode).toBe(5);
		expectDiscretion(hub, failed.stdout, failed.stderr);
	});

	test("case 196: --token is not in the list of processes", async () => {
		const hub = await modelHub();
		hub.fail(/./, { kind: "black-hole" }, 99);
		const child = startProcess("fetch", BASE, "--token", TOKEN);
		while (hub.requests.length === 0) await setImmediate();
		const title = await readFile(`/proc/${child.pid}/cmdline`, "utf8").catch(
			() => "", // no Linux
		);
		expect(title).not.toContain(TOKEN);
	});

	test.each([
		["an empty one", ["--token", ""], "--token: is empty"],
		["one that cannot be sent", ["--token", "hf_sec ret"], "holds no token"],
	])("--token with %s is refused", async (_, flags, says) => {
		const hub = await modelHub();
		const { exitCode, stderr } = await run("fetch", DELTA, ...flags);
		expect(exitCode).toBe(2);
		expect(stderr).toContain(says);
		expect(stderr).not.toContain("hf_sec");
		expect(hub.requests).toEqual([]);
	});

	test("each source can be of another revision", async () => {
		const hub = await modelHub();
		const first = hub.commitOf(DELTA);
		const later = await hub.commit(DELTA, { "config.json": "{}" });
		const fetched = await run(
			...["fetch", DELTA, "--revision", first, "--json"],
		);
		expect(JSON.parse(fetched.stdout).commit).toBe(first);
		const inspected = await run("inspect", DELTA, "--revision", first);
		expect(inspected.exitCode).toBe(0);
		const revisions = ["--base-revision", "main", "--delta-revision", first];
		const { exitCode, out } = await merge(SIDES, ...revisions);
		expect(exitCode).toBe(0);
		const text = await readFile(path.join(out, "merge-delta.json"), "utf8");
		expect(text).toContain(first);
		expect(text).not.toContain(later);
		const planned = await run("plan", ...SIDES, ...revisions);
		expect(planned.exitCode).toBe(0);
	});

	test("a revision is said once", async () => {
		const hub = await modelHub();
		const sides = ["--base", BASE, "--delta", `${DELTA}@main`];
		const { exitCode, stderr, out } = await merge(
			...([sides, "--delta-revision", "v1"] as const),
		);
		expect(exitCode).toBe(2);
		expect(stderr).toContain("--delta-revision: lmsys/vicuna-delta@main names");
		await expect(readdir(out)).rejects.toThrow("ENOENT");
		expect(hub.requests).toEqual([]);
	});

	test.each([
		["--revision", ["verify"]],
		["--revision", ["inspect"]],
		["--delta-revision", ["plan", "--base", BASE, "--delta"]],
		["--delta-revision", ["--base", BASE, "--out", "out", "--delta"]],
		[
			"--base-revision",
			[
				"make",
				"--convention",
				"add",
				"--target",
				BASE,
				"--out",
				"out",
				"--base",
			],
		],
	])("%s is refused for a folder by %j", async (flag, args) => {
		const hub = await modelHub();
		const folder = await memoryFolder();
		const { exitCode, stderr } = await run(...args, folder, flag, "v1");
		expect(stderr).toContain(
			`${flag}: ${folder} is a path, and only models of the Hub have revisions`,
		);
		expect(exitCode).toBe(2);
		expect(hub.requests).toEqual([]);
	});

	test("a folder here that is named as a model has none, but does not hinder a fetch", async () => {
		const hub = await modelHub();
		const [before, folder] = [process.cwd(), await memoryFolder()];
		onTestFinished(() => process.chdir(before));
		process.chdir(folder);
		await mkdir(DELTA, { recursive: true });
		const inspected = await run("inspect", DELTA, "--revision", "main");
		expect(inspected.stderr).toContain(`${DELTA} is a path`);
		expect(inspected.exitCode).toBe(2);
		expect(hub.requests).toEqual([]);
		const fetched = await run("fetch", DELTA, "--revision", "main");
		expect(fetched.exitCode).toBe(0);
	});
});

describe("what stands between", () => {
	test("case 197: a proxy, by the environment", async () => {
		const hub = await modelHub();
		const proxy = await openProxy("me:s3cret");
		const address = proxy.address.replace("//", "//me:s3cret@");
		vi.stubEnv("HTTP_PROXY", address);
		const { exitCode, stdout, stderr } = await run("fetch", DELTA);
		expect(exitCode, stderr).toBe(0);
		expect(proxy.requests).toHaveLength(hub.requests.length);
		vi.stubEnv("http_proxy", proxy.address);
		const refused = await run("fetch", BASE, "--verbose", "--json");
		expect(refused.exitCode).toBe(5);
		expect(refused.stderr).toContain("(407)");
		for (const text of [stdout, stderr, refused.stdout, refused.stderr])
			expect(text).not.toMatch(/s3cret|bWU6/);
		vi.stubEnv("NO_PROXY", "127.0.0.1,localhost");
		expect((await run("fetch", BASE)).exitCode).toBe(0);
	});

	test("case 197: what is no proxy is refused before anything is asked", async () => {
		const hub = await modelHub();
		vi.stubEnv("ALL_PROXY", "socks5://me:s3cret@127.0.0.1:1");
		const { exitCode, stderr, out } = await merge(SIDES);
		expect(exitCode).toBe(2);
		expect(stderr).toMatch(/^error ALL_PROXY: not the address of a proxy/);
		expect(stderr).not.toContain("s3cret");
		expect(hub.requests).toEqual([]);
		await expect(readdir(out)).rejects.toThrow("ENOENT");
	});

	test("case 173: certificates of an authority that NODE_EXTRA_CA_CERTS adds", async () => {
		const hub = await modelHub();
		await putBehindTls(hub);
		vi.stubEnv("HF_ENDPOINT", hub.endpoint);
		const refused = await runProcess("fetch", DELTA);
		expect(refused.exitCode).toBe(5);
		expect(refused.stderr).toMatch(
			/^error .*no safe connection \(UNABLE_TO_VERIFY_LEAF_SIGNATURE\).*\n$/,
		);
		vi.stubEnv("NODE_EXTRA_CA_CERTS", AUTHORITY);
		expect((await runProcess("fetch", DELTA)).exitCode).toBe(0);
	});
});

test("files of the store that all models share are read as the cache's own", async () => {
	await modelHub();
	expect((await run("fetch", BASE)).exitCode).toBe(0);
	expect((await run("fetch", DELTA)).exitCode).toBe(0);
	for (const repository of [BASE, DELTA]) {
		const folder = `models--${repository.replace("/", "--")}`;
		const blobs = path.join(cache, folder, "blobs");
		for (const name of await readdir(blobs)) {
			const shared = path.join(cache, "blobs", name.slice(0, 2), name);
			await mkdir(path.dirname(shared), { recursive: true });
			await rename(path.join(blobs, name), shared);
			await symlink(path.relative(blobs, shared), path.join(blobs, name));
		}
	}
	const { exitCode, stderr, out } = await merge(SIDES, "--offline");
	expect(exitCode, stderr).toBe(0);
	expect((await run("verify", out)).exitCode).toBe(0);
});

describe("make from two repositories", () => {
	const MAKE = ["make", "--convention", "fastchat-v1.1"];

	test("gives what the same folders give, and says where from", async () => {
		const hub = await modelHub();
		const out = path.join(await memoryFolder(), "out");
		const { exitCode, stderr, stdout } = await run(
			...[...MAKE, "--base", BASE, "--target", TARGET, "--out", out],
		);
		expect(exitCode, stderr).toBe(0);
		const here = path.join(await memoryFolder(), "out");
		const sides = ["base", "expected"].map((side) => path.join(LLAMA, side));
		const [base = "", target = ""] = sides;
		await run(...[...MAKE, "--base", base, "--target", target, "--out", here]);
		expect(await filesOf(out)).toEqual(await filesOf(here));
		const text = await readFile(path.join(out, "merge-delta.json"), "utf8");
		const { inputs } = JSON.parse(text);
		expect(inputs.length).toBeGreaterThan(2);
		for (const { from, repository, commit } of inputs) {
			expect(repository).toBe(from === "base" ? BASE : TARGET);
			expect(commit).toBe(hub.commitOf(repository));
		}
		expectDiscretion(hub, stdout, stderr, text);
	});

	test("an output that exists is told before anything is fetched", async () => {
		const hub = await modelHub();
		const out = await memoryFolder();
		await writeFile(path.join(out, "x"), "");
		const { exitCode } = await run(
			...[...MAKE, "--base", BASE, "--target", TARGET, "--out", out],
		);
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
		const here = await memoryFolder();
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

	test("case 172: a Hub that nobody runs is exit code 5, in one line", async () => {
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
