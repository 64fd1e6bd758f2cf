import { randomFillSync } from "node:crypto";
import { mkdir, open, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import {
	encodeHeader,
	headerBytes,
} from "../../src/format/safetensors-writer.ts";
import {
	encodeShardIndex,
	INDEX_FILE_NAME,
} from "../../src/format/shard-index.ts";
import { shardFileName } from "../../src/format/shard-name.ts";

const BLOCK_BYTES = 2 ** 22;
const TENSOR_BYTES = 2 ** 25;
/** Of one layer, in the order of the model; safetensors files hold them by name. */
const LAYER = [
	...["q", "k", "v", "o"].map((name) => `self_attn.${name}_proj`),
	...["gate", "down", "up"].map((name) => `mlp.${name}_proj`),
];

/** Two models of one shape, base and delta, in a folder; made once and found again by their size. */
export async function makeModels(
	folder: string,
	byteLength: number,
	shardCount: number,
): Promise<{ base: string; delta: string }> {
	const sides = {
		base: path.join(folder, "base"),
		delta: path.join(folder, "delta"),
	};
	for (const side of Object.values(sides))
		await makeModel(side, byteLength, shardCount);
	return sides;
}

async function makeModel(
	folder: string,
	byteLength: number,
	shardCount: number,
) {
	await mkdir(folder, { recursive: true });
	const perShard = Math.max(
		1,
		Math.round(byteLength / shardCount / TENSOR_BYTES),
	);
	const weightMap = new Map<string, string>();
	for (let shard = 0; shard < shardCount; shard++) {
		const name = shardFileName(shard, shardCount);
		const tensors = Array.from({ length: perShard }, (_, i) => {
			const layer = shard * Math.ceil(perShard / LAYER.length);
			const part = LAYER[i % LAYER.length];
			return `model.layers.${layer + Math.floor(i / LAYER.length)}.${part}.weight`;
		}).sort();
		for (const tensor of tensors) weightMap.set(tensor, name);
		await writeShard(path.join(folder, name), tensors);
	}
	const elements = (weightMap.size * TENSOR_BYTES) / 2;
	if (shardCount > 1)
		await writeFile(
			path.join(folder, INDEX_FILE_NAME),
			encodeShardIndex(weightMap, elements * 2, elements),
		);
}

/** Random finite F16 values: real bytes, so that no file system can take a short cut. */
async function writeShard(file: string, tensors: readonly string[]) {
	const header = encodeHeader(
		tensors.map((name) => ({
			name,
			dtype: "F16" as const,
			shape: [TENSOR_BYTES / 8192, 4096],
		})),
		new Map([["format", "pt"]]),
		file,
	);
	const byteLength = header.byteLength + tensors.length * TENSOR_BYTES;
	if ((await stat(file).catch(() => null))?.size === byteLength) return;
	const handle = await open(file, "w");
	await handle.write(headerBytes(header.json));
	const block = new Uint16Array(BLOCK_BYTES / 2);
	for (
		let left = tensors.length * TENSOR_BYTES;
		left > 0;
		left -= BLOCK_BYTES
	) {
		randomFillSync(block);
		for (let i = 0; i < block.length; i++)
			block[i] = (block[i] as number) & 0xbbff; // below 2
		await handle.write(new Uint8Array(block.buffer));
	}
	await handle.sync();
	await handle.close();
}
