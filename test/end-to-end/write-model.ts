import { writeFile } from "node:fs/promises";
import path from "node:path";
import { memoryFolder } from "./run.ts";

/** A tensor to write, its bytes as they are in the file. */
export type Tensor = [dtype: string, shape: number[], bytes: Uint8Array];

/** Write a file of tensors, in a folder of its own. */
export async function writeModel(
	tensors: Record<string, Tensor>,
): Promise<string> {
	let at = 0;
	const entries = Object.entries(tensors).map(
		([name, [dtype, shape, bytes]]) => {
			const data_offsets = [at, at + bytes.length];
			at += bytes.length;
			return [name, { dtype, shape, data_offsets }];
		},
	);
	// An odd length, so that nothing in the file lies at an even address.
	const json = JSON.stringify(Object.fromEntries(entries));
	const text = json + " ".repeat((Buffer.byteLength(json) + 1) % 2);
	const head = Buffer.alloc(8);
	head.writeBigUInt64LE(BigInt(Buffer.byteLength(text)));
	const parts = Object.values(tensors).map(([, , bytes]) => bytes);
	const file = path.join(await memoryFolder(), "model.safetensors");
	await writeFile(file, Buffer.concat([head, Buffer.from(text), ...parts]));
	return file;
}

/** A tensor of these bit patterns. */
export const f16 = (...patterns: number[]): Tensor => [
	"F16",
	[patterns.length],
	new Uint8Array(Uint16Array.from(patterns).buffer),
];
