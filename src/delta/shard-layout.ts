import { UsageError } from "../errors.ts";
import { MAX_SHARDS } from "../format/shard-index.ts";
import type { Side } from "./convention.ts";
import type { OutputTensor } from "./pair-tensors.ts";

/** Which tensors of the output stand together in a shard; null: as on the side the convention loops over. */
export type ShardLayout =
	| { kind: "mirror"; side: Side }
	| { kind: "limit"; maxBytes: number }
	| null;

/**
 * Put the tensors of the output into shards, of which none is empty.
 *
 * @param byteLengthOf  of a tensor in the output
 * @throws {UsageError} where there would be too many
 */
export function layOutShards(
	tensors: readonly OutputTensor[],
	layout: ShardLayout,
	byteLengthOf: (tensor: OutputTensor) => number,
): OutputTensor[][] {
	if (layout === null) return mirror(tensors, ({ shardIndex }) => shardIndex);
	if (layout.kind === "mirror") {
		const { side } = layout;
		return mirror(tensors, (tensor) => tensor[side]?.shardIndex ?? null);
	}
	const shards = fill(tensors, layout.maxBytes, byteLengthOf);
	if (shards.length > MAX_SHARDS)
		throw new UsageError({
			where: "--max-shard-size",
			what: "too small for this model",
			expected: `at most ${MAX_SHARDS} shards`,
			found: `${shards.length}`,
		});
	return shards;
}

/** @param shardOf  null where a tensor stands with the one before it */
function mirror(
	tensors: readonly OutputTensor[],
	shardOf: (tensor: OutputTensor) => number | null,
): OutputTensor[][] {
	const byShard = new Map<number, OutputTensor[]>();
	let last = 0;
	for (const tensor of tensors) {
		last = shardOf(tensor) ?? last;
		const shard = byShard.get(last) ?? [];
		byShard.set(last, shard);
		shard.push(tensor);
	}
	return [...byShard].sort(([a], [b]) => a - b).map(([, shard]) => shard);
}

/** As huggingface_hub does it: a tensor that is larger than a shard may be has one to itself, before the one that is being filled. */
function fill(
	tensors: readonly OutputTensor[],
	maxBytes: number,
	byteLengthOf: (tensor: OutputTensor) => number,
): OutputTensor[][] {
	const shards: OutputTensor[][] = [];
	let current: OutputTensor[] = [];
	let currentBytes = 0;
	for (const tensor of tensors) {
		const byteLength = byteLengthOf(tensor);
		if (byteLength > maxBytes) {
			shards.push([tensor]);
			continue;
		}
		if (currentBytes + byteLength > maxBytes) {
			shards.push(current);
			current = [];
			currentBytes = 0;
		}
		current.push(tensor);
		currentBytes += byteLength;
	}
	if (current.length > 0) shards.push(current);
	return shards;
}
