import { expect, test } from "vitest";
import type { OutputTensor } from "../../src/delta/pair-tensors.ts";
import {
	layOutShards,
	type ShardLayout,
} from "../../src/delta/shard-layout.ts";
import { UsageError } from "../../src/errors.ts";

/** Tensors named by their numbers, each of so many bytes. */
function layOut(sizes: readonly number[], layout: ShardLayout): number[][] {
	const tensors = sizes.map((_, i) => ({ name: `${i}` }) as OutputTensor);
	const sizeOf = ({ name }: OutputTensor) => sizes[Number(name)] as number;
	return numbersOf(layOutShards(tensors, layout, sizeOf));
}

const numbersOf = (shards: readonly (readonly OutputTensor[])[]) =>
	shards.map((shard) => shard.map(({ name }) => Number(name)));

// The right side is what huggingface_hub's split_torch_state_dict_into_shards (1.33) makes of the same sizes.
test.each([
	[[1, 20, 1], 10, [[1], [0, 2]]],
	[[10, 10, 10], 10, [[0], [1], [2]]],
	[
		[4, 4, 4, 4],
		10,
		[
			[0, 1],
			[2, 3],
		],
	],
	[[11, 1, 9, 1], 10, [[0], [1, 2], [3]]],
	[[3], 10, [[0]]],
	[[2, 8, 1, 10, 9], 10, [[0, 1], [2], [3], [4]]],
	[
		...[[6, 3, 7, 11, 1, 2, 14, 9, 2, 6, 10, 1], 13],
		[[0, 1], [2], [3, 4], [6], [5, 7, 8], [9], [10, 11]],
	],
] as [number[], number, number[][]][])(
	"tensors of %j bytes in shards of %i",
	(sizes, maxBytes, shards) => {
		expect(layOut(sizes, { kind: "limit", maxBytes })).toEqual(shards);
	},
);

test("not in more shards than an index may name", () => {
	const layout = { kind: "limit", maxBytes: 1 } as const;
	const most = Array.from({ length: 10_000 }, () => 1);
	expect(layOut(most, layout)).toHaveLength(10_000);
	expect(() => layOut([...most, 1], layout)).toThrow(UsageError);
});

test("the shards of either side, or of the one that is looped over", () => {
	const tensors = [
		[1, 1, 7],
		[0, 1, 8],
		[1, null, 8],
		[0, 0, 7],
	].map(([shardIndex, base, delta], i) => ({
		...{ name: `${i}`, shardIndex },
		base: base === null ? null : { shardIndex: base },
		delta: { shardIndex: delta },
	})) as OutputTensor[];
	const by = (layout: ShardLayout) =>
		numbersOf(layOutShards(tensors, layout, () => 1));
	expect(by(null)).toEqual([
		[1, 3],
		[0, 2],
	]);
	// What the side lacks stands with the tensor before it.
	expect(by({ kind: "mirror", side: "base" })).toEqual([[3], [0, 1, 2]]);
	expect(by({ kind: "mirror", side: "delta" })).toEqual([
		[0, 3],
		[1, 2],
	]);
});
