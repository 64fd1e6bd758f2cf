import { createHash } from "node:crypto";
import {
	mkdir,
	mkdtemp,
	readdir,
	readFile,
	rm,
	writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { beforeAll, expect, test } from "vitest";
import {
	encodeHeader,
	headerBytes,
} from "../../src/format/safetensors-writer.ts";
import {
	encodeShardIndex,
	INDEX_FILE_NAME,
} from "../../src/format/shard-index.ts";
import { shardFileName } from "../../src/format/shard-name.ts";
import { DIRECT_IO, type MergeOptions, merge } from "../../src/index.ts";
import { elementByteLength, type FloatDtype } from "../../src/tensor/dtype.ts";
import { scratchFolder } from "../end-to-end/run.ts";
import { KERNELS } from "../kernel/kernels.ts";

type Tensor = { name: string; dtype: FloatDtype; shape: number[] };

/** Names that sort differently from their order in the files, odd lengths, and one tensor of many slices. */
const TENSORS: readonly Tensor[] = [
	{ name: "z.weight", dtype: "F16", shape: [1_500_001] },
	{ name: "a.bias", dtype: "F16", shape: [7] },
	{ name: "m.empty", dtype: "F16", shape: [0, 3] },
	{ name: "k.weight", dtype: "F16", shape: [333, 777] },
	{ name: "b.norm", dtype: "F16", shape: [1] },
	{ name: "c.weight", dtype: "F16", shape: [700_003] },
	{ name: "y.bias", dtype: "F16", shape: [4095] },
];

/** The bytes of a model in shards, at most `limit` tensors in each, with something beside them in the last. */
async function writeModel(
	folder: string,
	tensors: readonly Tensor[],
	{ limit, seed, extra }: { limit: number; seed: number; extra: Tensor[] },
) {
	await mkdir(folder);
	const all = [...tensors, ...extra];
	const shardCount = Math.ceil(all.length / limit);
	const weightMap = new Map<string, string>();
	let byteLength = 0;
	for (let shard = 0; shard < shardCount; shard++) {
		const mine = all.slice(shard * limit, (shard + 1) * limit);
		const fileName = shardFileName(shard, shardCount);
		for (const { name } of mine) weightMap.set(name, fileName);
		const { json, tensors: placed } = encodeHeader(mine, null, fileName);
		const data = new Uint8Array(placed.at(-1)?.dataOffsets[1] ?? 0);
		let state = seed + shard;
		for (let i = 0; i < data.length; i++) {
			state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
			data[i] = (state >>> 24) & 0xbb; // finite in every type
		}
		byteLength += data.length;
		const bytes = Buffer.concat([headerBytes(json), data]);
		await writeFile(path.join(folder, fileName), bytes);
	}
	if (shardCount > 1)
		await writeFile(
			path.join(folder, INDEX_FILE_NAME),
			encodeShardIndex(weightMap, byteLength, byteLength / 2),
		);
}

let folder = "";
let models: Pick<MergeOptions, "base" | "delta" | "convention">;

beforeAll(async () => {
	folder = await mkdtemp(path.join(tmpdir(), "merge-delta-"));
	const [base, delta] = [path.join(folder, "b"), path.join(folder, "d")];
	const extra: Tensor[] = [{ name: "x.extra", dtype: "F16", shape: [3_000] }];
	await writeModel(base, TENSORS, { limit: 3, seed: 1, extra: [] });
	await writeModel(delta, TENSORS.toReversed(), { limit: 4, seed: 2, extra });
	models = { base, delta, convention: "fastchat-v1.1" };
	return () => rm(folder, { recursive: true });
});

async function sumsOf(options: Partial<MergeOptions>): Promise<string> {
	const out = path.join(await scratchFolder(), "out");
	await merge({ ...models, ...options, out });
	return readFile(path.join(out, "SHA256SUMS"), "utf8");
}

test("every kernel, thread count, memory and way to read and write gives the same bytes", async () => {
	const expected = await sumsOf({ kernel: "js" });
	const kernels = new Set(KERNELS.map(({ kernel }) => kernel.name));
	expect(kernels.size).toBeGreaterThanOrEqual(2);
	for (const kernel of kernels)
		for (const threads of [1, 3])
			for (const memory of [8e6, 48e6])
				for (const directIo of DIRECT_IO) {
					const options = { kernel, threads, memory, directIo };
					expect(await sumsOf(options), JSON.stringify(options)).toBe(expected);
				}
}, 120_000);

test("the sums are those of the plain sums of the tensors, whatever the shards", async () => {
	const out = path.join(await scratchFolder(), "out");
	await merge({ ...models, out, threads: 2, memory: 8e6 });
	const sums = await readFile(path.join(out, "SHA256SUMS"), "utf8");
	for (const name of await readdir(out)) {
		if (name === "SHA256SUMS") continue;
		const bytes = await readFile(path.join(out, name));
		const sha256 = createHash("sha256").update(bytes).digest("hex");
		expect(sums).toContain(`${sha256}  ${name}\n`);
	}
	const { byteLength } = encodeHeader(
		TENSORS.slice(0, 3),
		new Map([["format", "pt"]]),
		"",
	);
	const merged = await readFile(path.join(out, shardFileName(0, 3)));
	const bytes = TENSORS.slice(0, 3).reduce(
		(sum, { shape, dtype }) =>
			sum + shape.reduce((a, b) => a * b, 1) * elementByteLength(dtype),
		byteLength,
	);
	expect(merged.length).toBe(bytes);
});

test("inputs that are read out of order are hashed whole all the same", async () => {
	const out = path.join(await scratchFolder(), "out");
	const { manifest } = await merge({ ...models, out, threads: 2, memory: 8e6 });
	expect(manifest.inputs.length).toBe(5);
	for (const { from, fileName, sha256 } of manifest.inputs) {
		const side = from === "base" ? "b" : "d";
		const bytes = await readFile(path.join(folder, side, fileName));
		expect(sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
	}
});

test("inputs need not be hashed", async () => {
	const out = path.join(await scratchFolder(), "out");
	const { manifest } = await merge({ ...models, out, inputSums: false });
	expect(manifest.inputs.map(({ sha256 }) => sha256)).toEqual(
		manifest.inputs.map(() => null),
	);
});

test("what was used is reported", async () => {
	const out = path.join(await scratchFolder(), "out");
	const { performance } = await merge({
		...{ ...models, out, threads: 2, kernel: "wasm" },
	});
	expect(performance).toMatchObject({ kernel: "wasm", threads: 2 });
	for (const stage of ["read", "add", "hash", "write"] as const)
		expect(performance.seconds[stage]).toBeGreaterThan(0);
});

test.each([
	[{ threads: 0 }, /--threads.*from 1 to 64.*found 0/],
	[{ threads: 1.5 }, /--threads/],
	[{ memory: 1000 }, /--memory.*at least 8 MB/],
	[{ kernel: "abacus" as never }, /--kernel.*native.*abacus/],
	[{ directIo: "maybe" as never }, /--direct-io/],
])("choices that make no sense are refused: %j", async (options, message) => {
	const out = path.join(await scratchFolder(), "out");
	await expect(merge({ ...models, out, ...options })).rejects.toThrow(message);
});
