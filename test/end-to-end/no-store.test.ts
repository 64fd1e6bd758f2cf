import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import type { LocalHub } from "../hub/local-hub.ts";
import { openHub } from "../hub/open-hub.ts";
import type { filesOfFolder } from "../hub/stored-bytes.ts";
import { type Form, modelFiles, WEIGHT_BYTES } from "./model-files.ts";
import { FIXTURES, run, scratchFolder } from "./run.ts";

vi.setConfig({ testTimeout: 60_000 });
const [BASE, DELTA] = ["meta/llama", "lmsys/vicuna-delta"];
const SIDES = ["--base", BASE, "--delta", DELTA];
const CONVENTION = ["--convention", "fastchat-v1.1"];
const STORE = /^GET http:\/\/localhost/;

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

type Files = Awaited<ReturnType<typeof filesOfFolder>>;

async function hubOf(base: Files, delta: Files) {
	const hub = await openHub({
		repos: { [BASE]: { files: base }, [DELTA]: { files: delta } },
	});
	vi.stubEnv("HF_ENDPOINT", hub.endpoint);
	return hub;
}

async function writeFolder(files: Record<string, Uint8Array | string>) {
	const folder = await scratchFolder();
	for (const [name, content] of Object.entries(files)) {
		await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
		await writeFile(path.join(folder, name), content);
	}
	return folder;
}

async function merge(sides: readonly string[], ...flags: string[]) {
	const folder = await scratchFolder();
	const out = path.join(folder, "out");
	return { folder, out, ...(await run(...sides, "--out", out, ...flags)) };
}

async function sumsOf(folder: string): Promise<string> {
	const text = await readFile(path.join(folder, "SHA256SUMS"), "utf8");
	return text.replace(/.*merge-delta.json\n/, ""); // which tells the repositories
}

/** Bytes that the store was asked for, of one repository. */
function askedBytes({ requests }: LocalHub, name: string): number {
	return requests
		.filter(({ origin, url }) => origin === "endpoint" && url.includes(name))
		.map(({ headers }) => /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? ""))
		.reduce(
			(sum, range) =>
				sum + (range ? Number(range[2]) - Number(range[1]) + 1 : 0),
			0,
		);
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
		expect(askedBytes(hub, "delta")).toBeLessThan(1.3 * WEIGHT_BYTES);
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
