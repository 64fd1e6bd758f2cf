import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Convention } from "../src/delta/convention.ts";
import { CONVENTION_IDS, type ConventionId } from "../src/delta/conventions.ts";
import { parseHeader } from "../src/format/safetensors.ts";
import { encodeHeader, headerBytes } from "../src/format/safetensors-writer.ts";
import {
	CONVENTIONS,
	KERNEL_NAMES,
	MismatchError,
	make,
	merge,
} from "../src/index.ts";
import { whyNot } from "../src/kernel/select.ts";
import { elementByteLength } from "../src/tensor/dtype.ts";
import { CANONICAL_NAN, decodeBF16, decodeF16 } from "../src/tensor/float.ts";
import { memoryFolder } from "./end-to-end/run.ts";

const KERNELS = KERNEL_NAMES.filter((name) => whyNot(name) === null);
const DTYPES = ["F16", "BF16", "F32"] as const;
type TestDtype = (typeof DTYPES)[number];
interface Tensor {
	dtype: TestDtype;
	/** default: of one dimension */
	shape?: readonly number[];
	patterns: readonly number[];
}
/** A model: for each shard its tensors by name. */
type Model = readonly ReadonlyMap<string, Tensor>[];

const shardName = (shard: number, count: number) =>
	`model-${`${shard + 1}`.padStart(5, "0")}-of-${`${count}`.padStart(5, "0")}.safetensors`;

function pack({ dtype, patterns }: Tensor): Buffer {
	const width = elementByteLength(dtype);
	const bytes = Buffer.alloc(patterns.length * width);
	patterns.forEach((pattern, i) => {
		bytes.writeUIntLE(pattern, i * width, width);
	});
	return bytes;
}

async function writeModel(folder: string, model: Model): Promise<string> {
	await mkdir(folder);
	const weightMap: Record<string, string> = {};
	for (const [shard, tensors] of model.entries()) {
		const fileName = shardName(shard, model.length);
		const header = encodeHeader(
			Array.from(
				tensors,
				([name, { dtype, patterns, shape = [patterns.length] }]) => ({
					...{ name, dtype, shape },
				}),
			),
			...([null, fileName] as const),
		);
		const data = header.tensors.map(({ name }) => {
			weightMap[name] = fileName;
			return pack(tensors.get(name) as Tensor);
		});
		const bytes = Buffer.concat([headerBytes(header.json), ...data]);
		await writeFile(path.join(folder, fileName), bytes);
	}
	const index = JSON.stringify({ metadata: {}, weight_map: weightMap });
	await writeFile(path.join(folder, "model.safetensors.index.json"), index);
	return folder;
}

/** All tensors of a model; read by the headers alone. */
async function readModel(folder: string): Promise<Model> {
	const model: Map<string, Tensor>[] = [];
	for (const name of (await readdir(folder)).sort()) {
		if (!name.endsWith(".safetensors")) continue;
		const bytes = await readFile(path.join(folder, name));
		const jsonBytes = Number(bytes.readBigUInt64LE()) + 8;
		const header = bytes.subarray(0, jsonBytes);
		const { tensors } = parseHeader(header, bytes.length, name);
		model.push(
			new Map(
				tensors.map(({ name, dtype, shape, dataOffsets: [begin, end] }) => {
					const width = elementByteLength(dtype as TestDtype);
					const at = (i: number) => jsonBytes + begin + i * width;
					const patterns = Array.from(
						{ length: (end - begin) / width },
						(_, i) => bytes.readUIntLE(at(i), width),
					);
					return [name, { dtype: dtype as TestDtype, shape, patterns }];
				}),
			),
		);
	}
	return model;
}

function numberOf(dtype: TestDtype, pattern: number): number {
	if (dtype === "F16") return decodeF16(pattern);
	if (dtype === "BF16") return decodeBF16(pattern);
	return new Float32Array(Uint32Array.of(pattern).buffer)[0] as number;
}

const SIGN = { F16: 0x8000, BF16: 0x8000, F32: 0x80000000 };

/** What is not as it was: in another type, every number must be the same still. */
function countDifferent(merged: Tensor, target: Tensor) {
	const sign = 2 ** (8 * elementByteLength(target.dtype) - 1);
	const place = (pattern: number) =>
		pattern < sign ? pattern : sign - 1 - pattern;
	let [elements, maxUlp] = [0, 0];
	target.patterns.forEach((expected, i) => {
		const found = merged.patterns[i] as number;
		if (merged.dtype === target.dtype) {
			if (found !== expected) elements++;
			maxUlp = Math.max(maxUlp, Math.abs(place(found) - place(expected)));
			return;
		}
		const number = numberOf(target.dtype, expected);
		const isSame = Object.is(numberOf(merged.dtype, found), number);
		const isOddNaN =
			Number.isNaN(number) && expected !== CANONICAL_NAN[target.dtype];
		if (!isSame || isOddNaN) elements++;
	});
	return { elements, maxUlp };
}

const EDGES: Record<TestDtype, readonly number[]> = {
	F16: [0, 0x8000, 1, 0x400, 0x3c00, 0x7bff, 0xfbff, 0x7c00, 0x7e00, 0xfc01],
	BF16: [0, 0x8000, 1, 0x80, 0x3f80, 0x7f7f, 0xff7f, 0x7f80, 0x7fc0, 0xff81],
	F32: [
		...[0, 0x80000000, 1, 0x800000, 0x3f800000, 0x477fefff, 0x7f7fffff],
		...[0xff7fffff, 0x7f800000, 0x7fc00000, 0xff800001],
	],
};

/** Elements of a base and a target of one type: alike as a tuned model is, or as unlike as numbers can be. */
function twins(dtype: TestDtype) {
	const most = 2 ** (8 * elementByteLength(dtype)) - 1;
	const pattern = fc.oneof(fc.nat(most), fc.constantFrom(...EDGES[dtype]));
	const near = fc
		.tuple(fc.nat(most), fc.nat(200))
		.map(([a, change]) => [a, (a ^ change) >>> 0] as const);
	const element = fc.oneof(near, fc.tuple(pattern, pattern));
	return fc.array(element, { minLength: 1, maxLength: 60 });
}

/** What is chosen of a pair of LLaMA-shaped models. */
interface Shapes {
	rows: number;
	columns: number;
	/** rows and columns of the embeddings that only the target has */
	grown: number;
	wider: number;
	/** whether rotary frequencies are stored: in the base, in the target */
	rotary: readonly [boolean, boolean];
}

const shapes = ({ grow, mustGrow }: Convention): fc.Arbitrary<Shapes> =>
	fc.record({
		rows: fc.integer({ min: 1, max: 4 }),
		columns: fc.integer({ min: 1, max: 4 }),
		grown:
			grow === "none"
				? fc.constant(0)
				: fc.integer({ min: mustGrow ? 1 : 0, max: 3 }),
		wider: grow === "slice" ? fc.nat(2) : fc.constant(0),
		rotary: fc.tuple(fc.boolean(), fc.boolean()),
	});

/** Two models that fit together under a convention: names, shapes, and what only the target has. */
function pairOf(
	{ verbatim, deltaOnly, prefix }: Convention,
	dtype: TestDtype,
	{ rows, columns, grown, wider, rotary }: Shapes,
	twins: readonly (readonly [number, number])[],
): { base: Model; target: Model } {
	const base = [new Map<string, Tensor>(), new Map<string, Tensor>()] as const;
	const target = [
		new Map<string, Tensor>(),
		new Map<string, Tensor>(),
	] as const;
	let drawn = 0;
	const put = (name: string, ours: number[] | null, theirs: number[]) => {
		const first = drawn;
		drawn += 7;
		const tensor = (side: 0 | 1, shape: number[]): Tensor => ({
			...{ dtype, shape },
			patterns: Array.from(
				{ length: shape.reduce((a, b) => a * b, 1) },
				(_, i) => twins[(first + i) % twins.length]?.[side] as number,
			),
		});
		if (ours) base[drawn % 2]?.set(name, tensor(0, ours));
		target[(drawn + 1) % 2]?.set(prefix + name, tensor(1, theirs));
	};
	const larger = [rows + grown, columns + wider];
	put("model.embed_tokens.weight", [rows, columns], larger);
	put("model.layers.0.mlp.up_proj.weight", [3, columns], [3, columns]);
	put("model.norm.weight", [columns], [columns]);
	put("lm_head.weight", [rows, columns], larger);
	if (verbatim.includes("mm_projector"))
		put("model.mm_projector.weight", null, [2, columns]);
	if (deltaOnly === "verbatim") put("reward_head.weight", null, [columns]);
	const name = "model.layers.0.self_attn.rotary_emb.inv_freq";
	const frequencies = { dtype: "F32", patterns: [0x3f800000, 0x3dcccccd] };
	if (rotary[0]) base[0].set(name, frequencies as Tensor);
	if (rotary[1]) target[1].set(prefix + name, frequencies as Tensor);
	return { base, target };
}

const CASES = CONVENTION_IDS.flatMap((id) =>
	DTYPES.map((dtype) => ({ id, dtype })),
);

const tensorsOf = (model: Model) => new Map(model.flatMap((s) => [...s]));

test.each(CASES)(
	"$id: a merge gives back a target of $dtype but for what the report counts",
	async ({ id, dtype }) => {
		const convention: Convention = CONVENTIONS[id as ConventionId];
		await fc.assert(
			fc.asyncProperty(
				...([shapes(convention), twins(dtype)] as const),
				fc.constantFrom(...KERNELS),
				async (shapes, twins, kernel) => {
					const folder = await memoryFolder();
					const at = (name: string) => path.join(folder, name);
					const pair = pairOf(convention, dtype, shapes, twins);
					const base = await writeModel(at("base"), pair.base);
					const target = await writeModel(at("target"), pair.target);
					const [delta, out] = [at("delta"), at("merged")];
					const options = { convention: id, allowNonFinite: true, kernel };
					const made = await make({ ...options, base, target, out: delta });
					const { manifest } = await merge({
						...{ ...options, base, delta, out, allowUnlikely: true },
					});
					const { restoration } = made;
					expect(restoration.sums).toEqual(manifest.sums);
					const merged = tensorsOf(await readModel(out));
					const deltas = tensorsOf(await readModel(delta));
					expect([...merged.keys()].sort()).toEqual([...deltas.keys()].sort());

					const expected = new Map<string, object>();
					let elements = 0;
					for (const [name, tensor] of tensorsOf(pair.target)) {
						const ours = merged.get(name);
						if (ours === undefined) {
							expect(name).toContain("rotary_emb");
							expect(made.warnings.join()).toContain("left out");
							continue;
						}
						elements += tensor.patterns.length;
						expect(ours.shape).toEqual(tensor.shape ?? [2]);
						const { maxUlp, ...counts } = countDifferent(ours, tensor);
						if (counts.elements === 0) continue;
						const distance =
							ours.dtype === tensor.dtype ? maxUlp : expect.any(Number);
						expected.set(name, {
							...{ tensor: name, ...counts, maxUlp: distance },
						});
					}
					expect(
						new Map(restoration.tensors.map((each) => [each.tensor, each])),
					).toEqual(expected);
					expect(restoration.elements).toBe(
						restoration.tensors.reduce((sum, each) => sum + each.elements, 0),
					);
					expect(restoration.maxUlp).toBe(
						Math.max(0, ...restoration.tensors.map((each) => each.maxUlp)),
					);
					expect(made.elements).toBe(elements);
				},
			),
			{ numRuns: 5, seed: 37 },
		);
	},
	60_000,
);

/** Patterns of whole numbers from −8 to 8, without −0. */
const WHOLE: Record<TestDtype, number[]> = { F16: [], BF16: [], F32: [] };
for (const dtype of DTYPES)
	for (let pattern = 0; pattern < 2 ** 16; pattern++) {
		const bits = dtype === "F32" ? pattern * 2 ** 16 : pattern;
		const value = numberOf(dtype, bits);
		if (Number.isInteger(value) && Math.abs(value) <= 8 && bits !== SIGN[dtype])
			WHOLE[dtype].push(bits);
	}

test.each(CASES)(
	"$id: whole numbers of $dtype come back exactly",
	async ({ id, dtype }) => {
		const convention: Convention = CONVENTIONS[id as ConventionId];
		const folder = await memoryFolder();
		const at = (name: string) => path.join(folder, name);
		const whole = WHOLE[dtype];
		const twins = Array.from({ length: 61 }, (_, i) => {
			const [a, b] = [i * 7, i * 11 + 3];
			return [whole[a % whole.length], whole[b % whole.length]] as const;
		});
		const pair = pairOf(
			...([convention, dtype] as const),
			{
				...{ rows: 4, columns: 3, rotary: [false, false] },
				grown: convention.grow === "none" ? 0 : 1,
				wider: convention.grow === "slice" ? 1 : 0,
			},
			twins as [number, number][],
		);
		const base = await writeModel(at("base"), pair.base);
		const target = await writeModel(at("target"), pair.target);
		const [delta, out] = [at("delta"), at("merged")];
		const options = { base, convention: id };
		const { restoration } = await make({ ...options, target, out: delta });
		expect(restoration).toMatchObject({ elements: 0, tensors: [] });
		await merge({ ...options, delta, out, allowUnlikely: true });
		const merged = tensorsOf(await readModel(out));
		const targets = tensorsOf(pair.target);
		expect([...merged.keys()].sort()).toEqual([...targets.keys()].sort());
		for (const [name, tensor] of targets) {
			const ours = merged.get(name) as Tensor;
			expect(ours.shape, name).toEqual(tensor.shape);
			const numbers = ({ dtype, patterns }: Tensor) =>
				patterns.map((pattern) => numberOf(dtype, pattern));
			expect(numbers(ours), name).toEqual(numbers(tensor));
		}
	},
);

test("the same is counted however the work is cut, and by any kernel", async () => {
	const folder = await memoryFolder();
	const count = 3_000_001;
	const model = (patternOf: (i: number) => number): Model => [
		new Map([
			[
				"t",
				{
					dtype: "F16",
					patterns: Array.from({ length: count }, (_, i) => patternOf(i)),
				},
			],
		]),
	];
	const base = await writeModel(
		path.join(folder, "base"),
		model((i) => (i * 40503) & 0x3fff),
	);
	const targetModel = model((i) =>
		i % 1000 === 0 ? (i * 31) & 0x3fff : (i * 40503) & 0x3fff,
	);
	const target = await writeModel(path.join(folder, "target"), targetModel);
	const found = [];
	for (const [i, choices] of [
		{ threads: 2, memory: 8e6 },
		{ threads: 1, kernel: "wasm" as const },
		{ kernel: "js" as const },
	].entries()) {
		const out = path.join(folder, `delta${i}`);
		const { restoration, manifest } = await make({
			...{ base, target, out, convention: "add", ...choices },
		});
		found.push({ restoration, outputs: manifest.outputs });
	}
	const out = path.join(folder, "merged");
	await merge({
		base,
		delta: path.join(folder, "delta0"),
		out,
		convention: "add",
	});
	const [shard] = await readModel(out);
	const different = countDifferent(
		shard?.get("t") as Tensor,
		targetModel[0]?.get("t") as Tensor,
	);
	expect(different.elements).toBeGreaterThan(100);
	for (const each of found) {
		expect(each).toEqual(found[0]);
		expect(each.restoration).toMatchObject(different);
	}
}, 60_000);

test("a target of another type than the base needs the type the merge will write", async () => {
	const folder = await memoryFolder();
	const one = (dtype: TestDtype, ...patterns: number[]): Model => [
		new Map([["t", { dtype, patterns }]]),
	];
	const base = await writeModel(
		path.join(folder, "base"),
		one("F32", 0x3f800001, 0xbf800001),
	);
	const targetModel = one("F16", 0x3c01, 0x8001);
	const target = await writeModel(path.join(folder, "target"), targetModel);
	const out = path.join(folder, "delta");
	const options = { base, target, out, convention: "add" } as const;
	await expect(make(options)).rejects.toThrow(MismatchError);
	await expect(make(options)).rejects.toThrow(/--dtype/);
	const { restoration, manifest } = await make({ ...options, dtype: "F16" });
	expect(manifest.sums).toEqual(["F16 − F32 → F16"]);
	expect(restoration.sums).toEqual(["F32 + F16 → F16"]);
	const delta = out;
	const merged = path.join(folder, "merged");
	await merge({
		...{ base, delta, out: merged, convention: "add" },
		dtype: "F16",
	});
	const [shard] = await readModel(merged);
	const different = countDifferent(
		shard?.get("t") as Tensor,
		targetModel[0]?.get("t") as Tensor,
	);
	expect(restoration).toMatchObject(different);
	expect(restoration.elements).toBe(1);
});
