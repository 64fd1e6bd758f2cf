import { readdir } from "node:fs/promises";
import path from "node:path";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { type MergeOptions, merge, NetworkError } from "../../src/index.ts";
import { openHub } from "../hub/open-hub.ts";
import { behindGate } from "../hub/stored-bytes.ts";
import { modelFiles, WEIGHT_BYTES } from "./model-files.ts";
import { cleanEnvironment } from "./model-hub.ts";
import { run, scratchFolder } from "./run.ts";

vi.setConfig({ testTimeout: 30_000 });
const [BASE, DELTA] = ["meta/llama", "lmsys/vicuna-delta"];
const LAST = "model-00002-of-00002.safetensors";

beforeEach(async () => void (await cleanEnvironment()));

/** A hub on which the delta's last shard stands behind a gate. */
async function open() {
	const delta = modelFiles("delta", "safetensors");
	const gate = behindGate(delta[LAST] as Uint8Array);
	onTestFinished(() => gate.open());
	const hub = await openHub({
		repos: {
			[BASE]: { files: modelFiles("base", "safetensors") },
			[DELTA]: { files: { ...delta, [LAST]: gate.content } },
		},
	});
	gate.isArmed = true;
	const folder = await scratchFolder();
	const out = path.join(folder, "out");
	const start = (options: Partial<MergeOptions>) =>
		merge({
			...{ base: BASE, delta: DELTA, out, convention: "fastchat-v1.1" },
			hub: {
				...{ endpoint: hub.endpoint, cacheDir: path.join(folder, "cache") },
				...{ token: null, retry: { firstWaitMs: 0, longestWaitMs: 0 } },
			},
			...options,
		});
	return { hub, gate, folder, out, start };
}

test("a shard is merged while others are still on their way", async () => {
	const { hub, gate, out, start } = await open();
	await start({
		onProgress: ({ shardIndex, shardWrittenBytes, shardBytes }) => {
			expect(shardIndex === 0 || shardWrittenBytes > 0).toBe(true);
			if (shardIndex === 0 && shardWrittenBytes === shardBytes) gate.open();
		},
	});
	expect((await run("verify", out)).exitCode).toBe(0);
	// And from the cache: nothing came twice but headers and samples.
	expect(hub.requestedBytes()).toBeLessThan(2.2 * WEIGHT_BYTES);
});

test("a fetch that fails ends the merge", async () => {
	const { hub, gate, folder, start } = await open();
	const failure = start({
		onProgress: ({ shardWrittenBytes, shardBytes }) => {
			if (shardWrittenBytes !== shardBytes) return;
			hub.fail(/./, { kind: "status", status: 403 }, 99);
			hub.expireUrls();
			hub.cut();
		},
	});
	await expect(failure).rejects.toThrow(NetworkError);
	gate.open();
	// With the shard that was safe.
	expect(await readdir(folder)).toEqual(["cache", "out.merge-delta"]);
});

// Sooner than the fetch would give up by itself, which waits ten seconds for the next bytes.
test("a merge that fails ends the fetch", { timeout: 9000 }, async () => {
	const { folder, start } = await open();
	const failure = start({
		onProgress: ({ shardWrittenBytes, shardBytes }) => {
			if (shardWrittenBytes === shardBytes) throw new Error("no more");
		},
	});
	await expect(failure).rejects.toThrow("no more");
	expect(await readdir(folder)).toEqual(["cache"]);
});

test("an interruption ends both", async () => {
	const { folder, start } = await open();
	const controller = new AbortController();
	const failure = start({
		signal: controller.signal,
		onProgress: () => controller.abort(),
	});
	await expect(failure).rejects.toThrow(/interrupted/);
	expect(await readdir(folder)).not.toContain("out");
});
