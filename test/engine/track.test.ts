import { expect, test } from "vitest";
import type {
	AddSegment,
	MergePlan,
	OutputShard,
} from "../../src/delta/plan.ts";
import { INPUT } from "../../src/delta/plan.ts";
import { NOTHING_REUSED } from "../../src/engine/resume.ts";
import {
	type Track,
	tracksByPassing,
	tracksByShard,
	unmade,
} from "../../src/engine/track.ts";

const BYTES = 10_000;

/** A tensor of the output, made of the base's and of that which lies at an offset of a shard of the delta. */
function segment(
	tensor: string,
	index: number,
	delta: { shard: number; fileOffset: number },
): AddSegment {
	const byteLength = BYTES;
	return {
		...{ op: "add", tensor, fileOffset: index * BYTES, byteLength },
		spec: { base: "F16", delta: "F16", cast: null, out: "F16" },
		base: { input: INPUT.base, shard: 0, fileOffset: 0, byteLength },
		delta: { input: INPUT.delta, ...delta, byteLength },
	} as AddSegment;
}

function shard(fileName: string, segments: AddSegment[]): OutputShard {
	const byteLength = segments.length * BYTES;
	return { fileName, byteLength, header: null, sha256: null, segments };
}

const PLAN = {
	shards: [
		shard("a", [
			segment("a0", 0, { shard: 0, fileOffset: 70_000 }),
			segment("a1", 1, { shard: 1, fileOffset: 0 }),
			segment("a2", 2, { shard: 0, fileOffset: 10_000 }),
		]),
		shard("b", [
			segment("b0", 0, { shard: 0, fileOffset: 40_000 }),
			segment("b1", 1, { shard: 0, fileOffset: 50_000 }),
		]),
	],
} as unknown as MergePlan;

const ALL = unmade(PLAN, NOTHING_REUSED);

/** The slices of a track, each as where it is written and which tensors are in it. */
function slicesOf(track: Track, sliceBytes = 2 ** 20): string[] {
	const slices: string[] = [];
	while (!track.isIssued) {
		const { shardIndex, slice } = track.next(sliceBytes, 2 ** 22);
		const { fileOffset, byteLength } = slice.write as {
			fileOffset: number;
			byteLength: number;
		};
		const tensors = slice.parts.map(({ tensor }) => tensor).join();
		slices.push(
			`${shardIndex} ${fileOffset}-${fileOffset + byteLength} ${tensors}`,
		);
	}
	return slices;
}

test("each shard by itself, from its start to its end", () => {
	expect(tracksByShard(ALL).map((track) => slicesOf(track))).toEqual([
		["0 0-30000 a0,a1,a2"],
		["1 0-20000 b0,b1"],
	]);
});

test("what passes is used in its order, whatever shards that goes to", () => {
	const tracks = tracksByPassing(ALL, ({ input }) => input === INPUT.delta);
	expect(tracks.map((track) => slicesOf(track))).toEqual([
		["0 20000-30000 a2", "1 0-20000 b0,b1", "0 0-10000 a0"],
		["0 10000-20000 a1"],
	]);
});

test("what is made of nothing that passes goes by its shard", () => {
	const tracks = tracksByPassing(
		ALL,
		({ input, shard }) => input === INPUT.delta && shard === 1,
	);
	expect(tracks.map((track) => slicesOf(track))).toEqual([
		["0 0-10000 a0", "0 20000-30000 a2"],
		["0 10000-20000 a1"],
		["1 0-20000 b0,b1"],
	]);
});

test("slices end at whole pages of the output", () => {
	const [track] = tracksByPassing(ALL, ({ input }) => input === INPUT.delta);
	expect(slicesOf(track as Track, 8192)).toEqual([
		...["0 20000-24576 a2", "0 24576-30000 a2"],
		...["1 0-8192 b0", "1 8192-16384 b0,b1", "1 16384-20000 b1"],
		...["0 0-8192 a0", "0 8192-10000 a0"],
	]);
});
