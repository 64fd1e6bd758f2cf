import { mkdir, readdir, writeFile } from "node:fs/promises";
import path from "node:path";
import {
	encodeHeader,
	headerBytes,
} from "../../src/format/safetensors-writer.ts";
import { DTYPES, type Dtype } from "../../src/tensor/dtype.ts";
import { elementCount } from "../../src/tensor/tensor.ts";
import { memoryFolder, type Run, run } from "./run.ts";

/** A tensor: dtype, shape, and the bits of each element; default: those of small numbers. */
export type MadeTensor = [
	dtype: Dtype,
	shape: readonly number[],
	bits?: readonly (number | bigint)[],
];

/** Bits of numbers of about 0.01, as weights are. */
const USUAL_BITS: Partial<Record<Dtype, number>> = {
	F16: 0x2100,
	BF16: 0x3c20,
	F32: 0x3c234567,
};

/** Write a folder with one weight file, and other files of these texts. @returns the folder */
export async function writeModel(
	tensors: Readonly<Record<string, MadeTensor>>,
	sideFiles: Readonly<Record<string, string>> = {},
	fileName = "model.safetensors",
): Promise<string> {
	const folder = path.join(await memoryFolder(), "model");
	await mkdir(folder);
	const listed = Object.entries(tensors).map(([name, [dtype, shape]]) => ({
		...{ name, dtype, shape },
	}));
	const { json, tensors: placed } = encodeHeader(listed, null, fileName);
	const data = Buffer.alloc(placed.at(-1)?.dataOffsets[1] ?? 0);
	for (const { name, dtype, shape, dataOffsets } of placed) {
		const width = DTYPES[dtype].bits / 8;
		const bits = tensors[name]?.[2];
		for (let i = 0; i < (elementCount(shape) ?? 0); i++) {
			const value = BigInt(bits?.[i] ?? (USUAL_BITS[dtype] ?? 0) + (i % 7));
			const element = Buffer.alloc(8);
			element.writeBigUInt64LE(value);
			element.copy(data, dataOffsets[0] + i * width, 0, width);
		}
	}
	const bytes = Buffer.concat([headerBytes(json), data]);
	await writeFile(path.join(folder, fileName), bytes);
	for (const [name, text] of Object.entries(sideFiles))
		await writeFile(path.join(folder, name), text);
	return folder;
}

export interface MergeRun extends Run {
	out: string;
	/** everything that was said */
	said: string;
}

/** Merge two inputs by the command; whatever it ends with, an output is there only if that is 0. */
export async function mergeModels(
	base: string,
	delta: string,
	...flags: string[]
): Promise<MergeRun> {
	const out = path.join(await memoryFolder(), "out");
	const inputs = ["--base", base, "--delta", delta, "--out", out];
	const result = await run(...inputs, ...flags);
	const left = await readdir(path.dirname(out));
	const expected = result.exitCode === 0 ? ["out"] : [];
	if (left.join() !== expected.join())
		throw new Error(`exit code ${result.exitCode} and left: ${left.join()}`);
	return { ...result, out, said: result.stdout + result.stderr };
}
