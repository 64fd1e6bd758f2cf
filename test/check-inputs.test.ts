import { createHash } from "node:crypto";
import {
	mkdir,
	readdir,
	readFile,
	rename,
	symlink,
	writeFile,
} from "node:fs/promises";
import path from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { checkInputs } from "../src/check-inputs.ts";
import { openCheckpoint } from "../src/checkpoint/open-checkpoint.ts";
import type { KnownFile } from "../src/delta/known-release.ts";
import { MismatchError } from "../src/errors.ts";
import { recogniseShards } from "../src/recognise.ts";
import { sampleCheckpoints } from "../src/sample.ts";
import { fullWeights, subtract, tuned } from "./delta/synthetic-weights.ts";
import { writeShapes, writeWeights } from "./delta/write-weights.ts";
import { FIXTURES, memoryFolder } from "./end-to-end/run.ts";

const BASE = fullWeights(1, "F16");
const TARGET = tuned(BASE, 2, "F16");
const DELTA = subtract(TARGET, BASE, "F16");
const MODELS = {
	base: BASE,
	target: TARGET,
	delta: DELTA,
	other: fullWeights(3, "F16"),
};

async function open(location: string) {
	const checkpoint = await openCheckpoint(location);
	onTestFinished(() => checkpoint.close());
	return checkpoint;
}

async function check(
	base: string,
	delta: string,
	options: { allowUnlikely?: boolean; rows?: readonly KnownFile[] } = {},
) {
	return checkInputs(await open(base), await open(delta), {
		allowUnlikely: false,
		...options,
	});
}

const write = async (model: keyof typeof MODELS, folder?: string) =>
	writeWeights(folder ?? (await memoryFolder()), MODELS[model], "F16");

/** Both refused with these words, and only warned of where unlikely inputs are allowed. */
async function refused(base: string, delta: string, message: RegExp) {
	const failure = check(base, delta);
	await expect(failure).rejects.toThrow(MismatchError);
	await expect(failure).rejects.toThrow(message);
	await expect(failure).rejects.toThrow(/--allow-unlikely/);
	const warnings = await check(base, delta, { allowUnlikely: true });
	expect(warnings.length).toBeGreaterThan(0);
	return warnings;
}

test("a base and its delta pass", async () => {
	expect(await check(await write("base"), await write("delta"))).toEqual([]);
});

test("every fixture passes", async () => {
	let seen = 0;
	for (const name of await readdir(FIXTURES)) {
		const [base, delta] = ["base", "delta"].map((side) =>
			path.join(FIXTURES, name, side),
		) as [string, string];
		if (!(await readdir(base).catch(() => null))) continue;
		expect(await check(base, delta), name).toEqual([]);
		seen++;
	}
	expect(seen).toBeGreaterThan(5);
});

test.each([
	["base", "target", /full weights, tuned from.*correlation 1\.00.*no merge/],
	["base", "other", /full weights, of another model.*needs no merge/],
	["delta", "base", /the base .* is a delta.*Swap --base and --delta/],
	["delta", "target", /the base .* is a delta.*Swap --base and --delta/],
	["base", "base", /same weights as the base.*Give the delta as --delta/],
] as const)(
	"%s as base and %s as delta are refused",
	async (base, delta, message) => {
		await refused(await write(base), await write(delta), message);
	},
);

test("another base than the delta's, or the merged model, is warned of", async () => {
	const delta = await write("delta");
	const [other] = await check(await write("other"), delta);
	expect(other).toMatch(/perhaps not the very weights.*same version/);
	const [merged] = await check(await write("target"), delta);
	expect(merged).toMatch(/perhaps not the very weights.*already merged/);
});

test("one folder twice is refused, by whatever path", async () => {
	const base = await write("base");
	const link = path.join(await memoryFolder(), "link");
	await symlink(base, link);
	for (const delta of [base, link, path.join(base, "model.safetensors")])
		await refused(base, delta, /the same.*double.*Give the base as --base/);
});

test("an adapter is refused on either side, by its tensors or its file", async () => {
	const base = await write("base");
	const q = "base_model.model.model.layers.0.self_attn.q_proj";
	const lora = await writeShapes(await memoryFolder(), {
		[`${q}.lora_A.weight`]: [8, 64],
		[`${q}.lora_B.weight`]: [64, 8],
	});
	await refused(base, lora, /adapter.*not a delta.*lora_A.*merge_and_unload/);
	await refused(lora, base, /adapter.*not a base/);
	const prompt = await writeShapes(
		await memoryFolder(),
		{ prompt_embeddings: [8, 64] },
		"adapter_model.safetensors",
	);
	await refused(base, prompt, /adapter.*adapter_model\.safetensors/);
});

test("a delta of another size is refused with both sizes", async () => {
	const layer = "model.layers.0.self_attn.q_proj.weight";
	const sized = async (hidden: number, name = layer) =>
		writeShapes(await memoryFolder(), {
			"model.embed_tokens.weight": [3, hidden],
			[name]: [1, hidden],
		});
	await refused(
		await sized(4096),
		await sized(5120),
		/another size.*expected 7B \(4096\), found 13B \(5120\)/,
	);
	const gpt = "model.layers.0.attn.weight";
	await refused(
		await sized(4096, gpt),
		await sized(768, gpt),
		/expected hidden size 4096, found hidden size 768/,
	);
	expect(await check(await sized(4096), await sized(4096))).toEqual([]);
});

test("wizard-vicuna is refused by its config, unless the weights are plainly a delta", async () => {
	const config = JSON.stringify({
		_name_or_path: "/root/wizard_vicuna_13b_600_step",
	});
	const [base, full, delta] = [
		await write("base"),
		await write("target"),
		await write("delta"),
	];
	for (const folder of [full, delta])
		await writeFile(path.join(folder, "config.json"), config);
	await refused(base, full, /junelee\/wizard-vicuna-13b.*needs no merge/);
	expect(await check(base, delta)).toEqual([]);
	await writeFile(path.join(full, "config.json"), "{");
	await refused(base, full, /tuned from/);
});

/** A folder as the Hub's cache has it: a snapshot that links to a blob named by this sum. */
async function inCache(folder: string, sha256: string): Promise<string> {
	const root = path.join(await memoryFolder(), "models--o--n");
	const snapshot = path.join(root, "snapshots", "1");
	await mkdir(snapshot, { recursive: true });
	await mkdir(path.join(root, "blobs"));
	const blob = path.join(root, "blobs", sha256);
	await rename(path.join(folder, "model.safetensors"), blob);
	await symlink(blob, path.join(snapshot, "model.safetensors"));
	return snapshot;
}

test("a blob of a Hub cache is recognised by its name, unread", async () => {
	const theBloke =
		"8e5f81c415d27aa6d0bf85af9bdd370c9a983eebeecf959defb5c084f6e77664";
	const llama =
		"0087155d6df07106c1d910bfeb6aab1be8e612dfbf2b56ddfb4ccbde7dbd50d0";
	const vicuna =
		"5ed572be140240b212049a3e791271eed8a04c40bc732c91a4da4b1469db23b1";
	const full = await inCache(await write("delta"), theBloke);
	const base = await inCache(await write("base"), llama);
	const checkpoint = await open(full);
	const read = vi.spyOn(checkpoint.shards[0]?.source as never, "read");
	const [known] = await recogniseShards(checkpoint);
	expect(known?.file.name).toMatch(/TheBloke\/wizard-vicuna-13B-HF, shard 1/);
	expect(read).not.toHaveBeenCalled();
	await refused(base, full, /TheBloke\/wizard-vicuna-13B-HF.*needs no merge/);
	await refused(await write("other"), base, /weights of a base, not a delta/);
	const merged = await inCache(await write("base"), vicuna);
	expect(await check(merged, await write("delta"))).toEqual([
		expect.stringMatching(/already merged, found lmsys\/vicuna-7b-v1\.1/),
	]);
});

test("a file is read whole only if it is as long as a known one", async () => {
	const folder = await write("base");
	const bytes = await readFile(path.join(folder, "model.safetensors"));
	const row: KnownFile = {
		sha256: createHash("sha256").update(bytes).digest("hex"),
		byteLength: bytes.length,
		...{ name: "a delta, shard 1", release: "a delta" },
		...{ role: "delta", source: "this test" },
	};
	const checkpoint = await open(folder);
	const read = vi.spyOn(checkpoint.shards[0]?.source as never, "read");
	const look = (rows: readonly KnownFile[]) =>
		recogniseShards(checkpoint, { rows });
	expect(await look([{ ...row, byteLength: bytes.length + 1 }])).toEqual([]);
	expect(read).not.toHaveBeenCalled();
	expect(await look([{ ...row, sha256: "0".repeat(64) }])).toEqual([]);
	expect(read).toHaveBeenCalledTimes(1);
	expect((await look([row]))[0]?.file).toBe(row);
	const delta = await write("delta");
	await expect(check(folder, delta, { rows: [row] })).rejects.toThrow(
		/a delta, not a base.*a delta, shard 1/,
	);
});

test("samples are few, the same every time, and of no tensor that is often whole", async () => {
	const base = await open(await write("base"));
	const delta = await open(await write("delta"));
	const samples = await sampleCheckpoints(base, delta);
	expect(samples).toEqual(await sampleCheckpoints(base, delta));
	const names = samples.map(({ name }) => name);
	expect(names.filter((name) => /embed|lm_head/.test(name))).toEqual([]);
	expect(samples.filter(({ kind }) => kind === "matrix")).toHaveLength(12);
	expect(samples.filter(({ kind }) => kind === "norm")).toHaveLength(4);
	expect(names).toContain("model.layers.7.self_attn.q_proj.weight");
	expect(names).toContain("model.norm.weight");
	for (const { count } of samples) expect(count).toBeLessThanOrEqual(16384);
});

test("a large tensor is sampled at its start, its end and between", async () => {
	const w = "model.layers.0.mlp.weight";
	const values = Float64Array.from({ length: 300 * 64 * 8 }, (_, i) => i);
	const folder = await memoryFolder();
	const weights = new Map([[w, values]]);
	const shapes = new Map([[w, [300, 512]]]);
	const checkpoint = await open(
		await writeWeights(folder, weights, "F32", shapes),
	);
	const [sample] = await sampleCheckpoints(checkpoint, checkpoint);
	const last = values.length - 4096;
	const starts = [0, Math.floor(last / 3), Math.floor((last * 2) / 3), last];
	const mean = starts.reduce((sum, at) => sum + at, 0) / 4 + 4095 / 2;
	expect(sample?.count).toBe(16384);
	expect(sample?.base.mean).toBeCloseTo(mean, 6);
	expect(sample?.identical).toBe(true);
});
