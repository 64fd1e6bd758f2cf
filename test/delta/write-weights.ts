import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import {
	encodeHeader,
	headerBytes,
} from "../../src/format/safetensors-writer.ts";
import { elementByteLength, type FloatDtype } from "../../src/tensor/dtype.ts";
import { encodeBF16, encodeF16 } from "../../src/tensor/float.ts";
import { SHAPES, type Weights } from "./synthetic-weights.ts";

const WRITE: Record<FloatDtype, (v: DataView, at: number, x: number) => void> =
	{
		F16: (view, at, x) => view.setUint16(at, encodeF16(x), true),
		BF16: (view, at, x) => view.setUint16(at, encodeBF16(x), true),
		F32: (view, at, x) => view.setFloat32(at, x, true),
		F64: (view, at, x) => view.setFloat64(at, x, true),
	};

/**
 * Write weights as a folder with one weight file.
 *
 * @param shapes  of the tensors, by name; default: those of the small LLaMA
 * @returns the folder
 */
export async function writeWeights(
	folder: string,
	weights: Weights,
	dtype: FloatDtype,
	shapes: ReadonlyMap<string, readonly number[]> = SHAPES,
): Promise<string> {
	const fileName = "model.safetensors";
	await mkdir(folder, { recursive: true });
	const { json, tensors } = encodeHeader(
		Array.from(weights, ([name, { length }]) => ({
			name,
			dtype,
			shape: [...(shapes.get(name) ?? [length])],
		})),
		null,
		fileName,
	);
	const data = new Uint8Array(tensors.at(-1)?.dataOffsets[1] ?? 0);
	const view = new DataView(data.buffer);
	for (const { name, dataOffsets } of tensors)
		for (const [i, value] of (weights.get(name) as Float64Array).entries())
			WRITE[dtype](view, dataOffsets[0] + i * elementByteLength(dtype), value);
	const bytes = Buffer.concat([headerBytes(json), data]);
	await writeFile(path.join(folder, fileName), bytes);
	return folder;
}

/** A file of zeros with one tensor of each given shape. */
export async function writeShapes(
	folder: string,
	shapes: Readonly<Record<string, readonly number[]>>,
	fileName = "model.safetensors",
): Promise<string> {
	await mkdir(folder, { recursive: true });
	const { json, tensors } = encodeHeader(
		Object.entries(shapes).map(([name, shape]) => ({
			name,
			dtype: "F16" as const,
			shape: [...shape],
		})),
		null,
		fileName,
	);
	const data = new Uint8Array(tensors.at(-1)?.dataOffsets[1] ?? 0);
	await writeFile(
		path.join(folder, fileName),
		Buffer.concat([headerBytes(json), data]),
	);
	return folder;
}
