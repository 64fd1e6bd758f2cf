import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseHeader } from "../src/format/safetensors.ts";
import { encodeHeader, headerBytes } from "../src/format/safetensors-writer.ts";
import {
	CONVENTIONS,
	type ConventionId,
	KERNEL_NAMES,
	MismatchError,
	make,
	merge,
} from "../src/index.ts";
import { whyNot } from "../src/kernel/select.ts";
import { elementByteLength } from "../src/tensor/dtype.ts";
import { CANONICAL_NAN, decodeBF16, decodeF16 } from "../src/tensor/float.ts";
import { scratchFolder } from "./end-to-end/run.ts";

const KERNELS = KERNEL_NAMES.filter((name) => whyNot(name) === null);
const DTYPES = ["F16", "BF16", "F32"] as const;
type TestDtype = (typeof DTYPES)[number];
interface Tensor {
	dtype: TestDtype;
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
			Array.from(tensors, ([name, { dtype, patterns }]) => ({
				...{ name, dtype, shape: [patterns.length] },
			})),
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

/** All tensors of a model, as `model` is sharded; read by the header alone. */
async function readModel(folder: string, shardCount: number): Promise<Model> {
	const model: Map<string, Tensor>[] = [];
	for (let shard = 0; shard < shardCount; shard++) {
		const name =
			shardCount === 1 ? "model.safetensors" : shardName(shard, shardCount);
		const bytes = await readFile(path.join(folder, name));
		const jsonBytes = Number(bytes.readBigUInt64LE()) + 8;
		const header = bytes.subarray(0, jsonBytes);
		const { tensors } = parseHeader(header, bytes.length, name);
		model.push(
			new Map(
				tensors.map(({ name, dtype, dataOffsets: [begin, end] }) => {
					const width = elementByteLength(dtype as TestDtype);
					const at = (i: number) => jsonBytes + begin + i * width;
					const patterns = Array.from(
						{ length: (end - begin) / width },
						(_, i) => bytes.readUIntLE(at(i), width),
					);
					return [name, { dtype: dtype as TestDtype, patterns }];
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

/** A base and a target of one type: alike as a tuned model is, or as unlike as numbers can be. */
function twins(dtype: TestDtype) {
	const most = 2 ** (8 * elementByteLength(dtype)) - 1;
	const pattern = fc.oneof(fc.nat(most), fc.constantFrom(...EDGES[dtype]));
	const near = fc
		.tuple(fc.nat(most), fc.nat(200))
		.map(([a, change]) => [a, (a ^ change) >>> 0] as const);
	const element = fc.oneof(near, fc.tuple(pattern, pattern));
	return fc.array(fc.array(element, { maxLength: 40 }), {
		...{ minLength: 2, maxLength: 5 },
	});
}

const modelOf = (
	dtype: TestDtype,
	tensors: readonly (readonly (readonly [number, number])[])[],
	side: 0 | 1,
	shardOf: (i: number) => number,
): Model => {
	const shards = [0, 1].map(() => new Map<string, Tensor>());
	tensors.forEach((pairs, i) => {
		const patterns = pairs.map((pair) => pair[side]);
		shards[shardOf(i)]?.set(`t${i}`, { dtype, patterns });
	});
	return shards;
};

const CASES = (Object.keys(CONVENTIONS) as ConventionId[]).flatMap((id) =>
	DTYPES.map((dtype) => ({ id, dtype })),
);

test.each(CASES)(
	"$id: a merge gives back a target of $dtype but for what the report counts",
	async ({ id, dtype }) => {
		await fc.assert(
			fc.asyncProperty(
				twins(dtype),
				fc.constantFrom(...KERNELS),
				async (tensors, kernel) => {
					const folder = await scratchFolder();
					const at = (name: string) => path.join(folder, name);
					const target = modelOf(dtype, tensors, 1, (i) => (i + 1) % 2);
					const sides = {
						base: await writeModel(
							at("base"),
							modelOf(dtype, tensors, 0, (i) => i % 2),
						),
						target: await writeModel(at("target"), target),
					};
					const options = { convention: id, allowNonFinite: true, kernel };
					const { restoration, elements } = await make({
						...{ ...options, ...sides, out: at("delta") },
					});
					const [base, delta, out] = [sides.base, at("delta"), at("merged")];
					const { manifest } = await merge({ ...options, base, delta, out });
					expect(restoration.sums).toEqual(manifest.sums);
					const merged = new Map(
						(await readModel(out, 2)).flatMap((shard) => [...shard]),
					);
					const expected = new Map<string, object>();
					for (const [name, tensor] of target.flatMap((s) => [...s])) {
						const ours = merged.get(name) as Tensor;
						const { maxUlp, ...counts } = countDifferent(ours, tensor);
						if (counts.elements === 0) continue;
						const distance = ours.dtype === dtype ? maxUlp : expect.any(Number);
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
					expect(elements).toBe(tensors.flat().length);
				},
			),
			{ numRuns: 12 },
		);
	},
	60_000,
);

test("the same is counted however the work is cut, and by any kernel", async () => {
	const folder = await scratchFolder();
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
	const [shard] = await readModel(out, 1);
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
	const folder = await scratchFolder();
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
	const [shard] = await readModel(merged, 1);
	const different = countDifferent(
		shard?.get("t") as Tensor,
		targetModel[0]?.get("t") as Tensor,
	);
	expect(restoration).toMatchObject(different);
	expect(restoration.elements).toBe(1);
});
