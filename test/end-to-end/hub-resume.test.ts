import { spawn } from "node:child_process";
import {
	copyFile,
	mkdir,
	readdir,
	readFile,
	realpath,
	rename,
	stat,
	writeFile,
} from "node:fs/promises";
import path from "node:path";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import {
	fetch as fetchModel,
	InterruptedError,
	type MergeOptions,
	merge,
	OutputConflictError,
	VerificationError,
} from "../../src/index.ts";
import { openHub } from "../hub/open-hub.ts";
import { behindGate } from "../hub/stored-bytes.ts";
import { type Form, MATRIX_BYTES, modelFiles } from "./model-files.ts";
import { cleanEnvironment } from "./model-hub.ts";
import { memoryFolder, run } from "./run.ts";

vi.setConfig({ testTimeout: 60_000 });
const [BASE, DELTA] = ["meta/llama", "lmsys/vicuna-delta"];
const BIN = path.join(import.meta.dirname, "../../dist/bin/merge-delta.cjs");
/** Bytes of an output shard: more than its matrices, less than another. */
const SHARD_BYTES = 2 * MATRIX_BYTES;
const NO_STORE = { noStore: ["delta"] } as const;

const NAMES = {
	safetensors: (n: number) => `model-0000${n}-of-00002.safetensors`,
	torch: (n: number) => `pytorch_model-0000${n}-of-00002.bin`,
};

beforeEach(async () => void (await cleanEnvironment()));

/** A hub on which the second half of a file of the delta stands behind a gate. */
async function open(
	number: number,
	form: "safetensors" | "torch",
	shape?: readonly [number, number],
) {
	const delta = modelFiles("delta", form, shape);
	const name = NAMES[form](number);
	const gate = behindGate(delta[name] as Uint8Array);
	onTestFinished(() => gate.open());
	const hub = await openHub({
		repos: {
			[BASE]: { files: modelFiles("base", "safetensors", shape) },
			[DELTA]: { files: { ...delta, [name]: gate.content } },
		},
	});
	gate.isArmed = true;
	const folder = await memoryFolder();
	const out = path.join(folder, "out");
	const cacheDir = path.join(folder, "cache");
	const start = (options: Partial<MergeOptions> = {}) =>
		merge({
			...{ base: BASE, delta: DELTA, out, convention: "fastchat-v1.1" },
			hub: {
				...{ endpoint: hub.endpoint, cacheDir, token: null },
				retry: { firstWaitMs: 0, longestWaitMs: 0 },
			},
			...options,
		});
	/** Bytes that were asked for of a file of the delta. */
	const bytesOf = (n: number) =>
		hub.requestedBytes(new RegExp(`${DELTA}.*${NAMES[form](n)}`));
	return { shape, hub, gate, folder, out, cacheDir, start, bytesOf };
}

type Opened = Awaited<ReturnType<typeof open>>;

/** Merge until something is safe, and stop there. @returns the error's last line, which says how much is */
async function stopOnceSafe(
	{ start }: Opened,
	options: Partial<MergeOptions>,
): Promise<string> {
	const controller = new AbortController();
	const error = await start({
		...{ ...options, signal: controller.signal },
		onProgress: ({ safeBytes }) => {
			if (safeBytes > 0) controller.abort();
		},
	}).catch((error) => error);
	expect(error).toBeInstanceOf(InterruptedError);
	return error.fault.details?.at(-1) ?? "";
}

/** What is the same however a merge came about. */
async function sumsOf(out: string): Promise<string> {
	const text = await readFile(path.join(out, "SHA256SUMS"), "utf8");
	return text.replace(/.*merge-delta.json\n/, "");
}

async function expectRight({ out, folder, shape }: Opened, form: Form) {
	const local = await memoryFolder();
	for (const [side, of] of [
		["base", "safetensors"],
		["delta", form],
	] as const) {
		await mkdir(path.join(local, side));
		for (const [name, content] of Object.entries(modelFiles(side, of, shape)))
			await writeFile(path.join(local, side, name), content);
	}
	const expected = path.join(local, "out");
	await merge({
		...{ base: path.join(local, "base"), delta: path.join(local, "delta") },
		...{ out: expected, convention: "fastchat-v1.1" },
	});
	expect(await sumsOf(out)).toBe(await sumsOf(expected));
	expect((await run("verify", out)).exitCode).toBe(0);
	const names = await readdir(folder);
	expect(names.filter((name) => name !== "cache")).toEqual(["out"]);
}

/** Run the command until something is claimed, and kill it. */
async function killOnceSafe(opened: Opened, ...flags: string[]) {
	const { hub, out, cacheDir } = opened;
	const child = spawn(
		process.execPath,
		[
			...[BIN, "--base", BASE, "--delta", DELTA, "--out", out],
			...["--convention", "fastchat-v1.1", "--cache-dir", cacheDir],
			// Otherwise so small a model is not worth a claim.
			...["--sync-bytes", "64KiB", ...flags],
		],
		{ env: { ...process.env, HF_ENDPOINT: hub.endpoint } },
	);
	let said = "";
	child.stderr.on("data", (text) => {
		said += text;
	});
	const exit = new Promise((resolve) => child.once("exit", resolve));
	const journal = path.join(`${out}.merge-delta`, "journal");
	await vi.waitFor(
		async () =>
			expect(
				(await stat(journal).catch(() => null))?.size,
				said,
			).toBeGreaterThan(0),
		{ timeout: 30_000 },
	);
	child.kill("SIGKILL");
	await exit;
}

describe("a merge while the files come", () => {
	test("goes on in the middle of a shard, and finds in the cache what has come", async () => {
		const opened = await open(2, "safetensors", [2048, 512]);
		const { gate, start, bytesOf } = opened;
		const safe = await stopOnceSafe(opened, { syncBytes: 2 ** 16 });
		const [bytes] = safe.split(" ");
		expect(Number(bytes)).toBeGreaterThan(0);
		const before = bytesOf(1);
		gate.open();
		const { resumed } = await start();
		expect(resumed).toEqual({ shards: 0, byteLength: Number(bytes) });
		expect(bytesOf(1) - before).toBeLessThan(2 ** 20);
		await expectRight(opened, "safetensors");
	});

	test("killed, it goes on with what was safe", async () => {
		const opened = await open(2, "safetensors");
		await killOnceSafe(opened);
		opened.gate.open();
		const { resumed } = await opened.start();
		expect(resumed?.byteLength).toBeGreaterThan(0);
		await expectRight(opened, "safetensors");
	});
});

describe("a merge of what the cache holds", () => {
	async function stopped() {
		const opened = await open(2, "safetensors");
		opened.gate.open();
		const { hub, cacheDir } = opened;
		for (const repo of [BASE, DELTA])
			await fetchModel({
				...{ repo, cacheDir, endpoint: hub.endpoint, token: null },
			});
		await stopOnceSafe(opened, { syncBytes: 2 ** 16 });
		return opened;
	}

	test("goes on", async () => {
		const opened = await stopped();
		const { resumed } = await opened.start();
		expect(resumed?.byteLength).toBeGreaterThan(0);
		await expectRight(opened, "safetensors");
	});

	test("does not go on where a file was replaced since: what was made of it may be wrong", async () => {
		const { cacheDir, folder, start } = await stopped();
		const name = NAMES.safetensors(2);
		const [file] = (await readdir(cacheDir, { recursive: true })).filter(
			(file) => file.includes("delta") && file.endsWith(name),
		);
		const blob = await realpath(path.join(cacheDir, file as string));
		await copyFile(blob, `${blob}.copy`);
		await rename(`${blob}.copy`, blob);
		const error = await start().catch((error) => error);
		expect(error).toBeInstanceOf(OutputConflictError);
		expect(error.fault.details).toEqual([
			expect.stringMatching(
				`^delta ${name}: there "[0-9:.]+", now "[0-9:.]+"$`,
			),
		]);
		expect(await readdir(folder)).toEqual(["cache", "out.merge-delta"]);
		expect((await start({ resume: false })).resumed).toBe(null);
	});
});

describe("a merge that stores nothing", () => {
	test.each(["safetensors", "torch"] as const)(
		"of %s, killed, begins only what it needs again",
		async (form) => {
			const opened = await open(2, form);
			const { gate, start, bytesOf } = opened;
			// Two, so that the shard that can be made is begun, whichever comes first.
			await killOnceSafe(opened, "--no-store", "--threads", "2");
			const [first, second] = [bytesOf(1), bytesOf(2)];
			expect(first).toBeGreaterThan(SHARD_BYTES);
			gate.open();
			let fetched = 0;
			const { resumed, manifest } = await start({
				...NO_STORE,
				onFetch: ({ bytes, totalBytes }) => {
					fetched = bytes / totalBytes;
				},
			});
			expect(resumed?.shards).toBe(1);
			expect(bytesOf(1) - first).toBeLessThan(2 ** 20);
			expect(bytesOf(2) - second).toBeGreaterThan(SHARD_BYTES);
			expect(fetched).toBe(1);
			for (const { sha256 } of manifest.inputs)
				expect(sha256).toMatch(/^[0-9a-f]{64}$/);
			await expectRight(opened, form);
		},
	);

	test("a file that stalls holds up no other", async () => {
		const opened = await open(1, "safetensors");
		const { gate, start, bytesOf } = opened;
		await start({
			...{ ...NO_STORE, threads: 2, syncBytes: 2 ** 16 },
			onProgress: ({ shardIndex, shardWrittenBytes, shardBytes }) => {
				if (shardIndex === 1 && shardWrittenBytes === shardBytes) gate.open();
			},
		});
		// Nobody has lost patience and asked for the rest again.
		expect(bytesOf(1)).toBeLessThan(1.2 * SHARD_BYTES);
		await expectRight(opened, "safetensors");
	});

	test("a file that is spoilt twice costs the others nothing", async () => {
		const opened = await open(2, "torch");
		const { gate, folder, start, bytesOf } = opened;
		gate.open();
		gate.spoiltByte = 600_001;
		const error = await start(NO_STORE).catch((error) => error);
		expect(error).toBeInstanceOf(VerificationError);
		expect(error.message).toMatch(/00002.bin: other bytes came/);
		expect(error.fault.details.at(-1)).toMatch(/are safe in .*goes on/);
		expect(await readdir(folder)).toEqual(["cache", "out.merge-delta"]);
		const before = bytesOf(1);
		expect(before).toBeLessThan(1.5 * SHARD_BYTES);
		gate.spoiltByte = null;
		const { resumed } = await start(NO_STORE);
		expect(resumed?.shards).toBe(1);
		expect(bytesOf(1) - before).toBeLessThan(2 ** 20);
		await expectRight(opened, "torch");
	});
});
