import { expect, onTestFinished, test } from "vitest";
import { INPUT, type MergePlan } from "../../src/delta/plan.ts";
import { Engine } from "../../src/engine/engine.ts";
import { decideEngineOptions } from "../../src/engine/engine-options.ts";
import { InputDigests } from "../../src/engine/input-digests.ts";
import type { Pace } from "../../src/engine/pace.ts";
import { NOTHING_REUSED } from "../../src/engine/resume.ts";
import { Schedule, type Scheduled } from "../../src/engine/schedule.ts";
import type { Read } from "../../src/engine/slice.ts";
import { tracksByShard, unmade } from "../../src/engine/track.ts";
import type { FileSource } from "../../src/io/file-source.ts";

/** Half of the smallest slot: beside it lies what it is made of. */
const BLOCK = 2 ** 18;
const BLOCKS = 6;

/** A plan whose shards each copy tensors of so many blocks, which lie anywhere in a file of its own. */
function planOf(
	shards: readonly (readonly number[])[],
	blocksEach: number,
): MergePlan {
	const byteLength = blocksEach * BLOCK;
	return {
		inputs: [{ shards: shards.map(() => ({})) }],
		fills: [],
		shards: shards.map((firstBlocks, shard) => ({
			...{ header: null, byteLength: firstBlocks.length * byteLength },
			segments: firstBlocks.map((block, i) => ({
				...{ op: "copy", tensor: `${block}`, dtype: "F16" },
				...{ fileOffset: i * byteLength, byteLength },
				from: {
					...{ input: INPUT.base, shard, fileOffset: block * BLOCK },
					byteLength,
				},
			})),
		})),
	} as never;
}

/** The slices of a plan, and what they are told to. */
function schedule(
	shards: readonly (readonly number[])[],
	{ blocksEach = 1, doneBlocks = 0 } = {},
) {
	const engine = new Engine(
		decideEngineOptions({ kernel: "js", threads: 2 }),
		BLOCK,
	);
	onTestFinished(() => engine.close());
	const plan = planOf(shards, blocksEach);
	const sources = [
		shards.map(
			() =>
				({
					byteLength: BLOCKS * BLOCK,
					chooseReading: async () => {},
				}) as unknown as FileSource,
		),
	];
	const begun = new Map([[0, { fileOffset: doneBlocks * BLOCK }]]) as never;
	const tracks = tracksByShard(unmade(plan, { ...NOTHING_REUSED, begun }));
	const digests = new InputDigests(engine, plan, sources, true, tracks);
	const scheduled = new Schedule(plan, tracks, sources, engine, {
		...{ digests, sharesFiles: false },
		onFailure: (error) => expect.fail(String(error)),
	});
	const slices = scheduled.slices({ sliceBytes: BLOCK } as Pace);
	return { slices, scheduled, digests };
}

/** @returns what is issued, in its order: which file it reads, which block, and whether only for the checksum */
async function issueAll(...plan: Parameters<typeof schedule>) {
	const { slices, scheduled, digests } = schedule(...plan);
	const issued: string[] = [];
	for await (const next of slices) {
		digests.takePlaces(next.slice);
		const [read] = next.slice.reads;
		const { shard, fileOffset, byteLength } = read as Read;
		const [first, end] = [
			fileOffset / BLOCK,
			(fileOffset + byteLength) / BLOCK,
		];
		const blocks = end - first === 1 ? first : `${first}-${end - 1}`;
		issued.push(`${"ab"[shard]}${blocks}${"shardIndex" in next ? "" : "?"}`);
		scheduled.made(next);
	}
	return issued;
}

test("a track that waits for a checksum does not hold up the other", async () => {
	expect(
		await issueAll([
			[4, 5],
			[0, 1, 2, 3, 4, 5],
		]),
	).toEqual([
		...["b0", "a0-1?", "b1", "a2-3?", "a4", "b2", "a5"],
		...["b3", "b4", "b5"],
	]);
});

test("what the plan does not bring in order is read as soon as its file is", async () => {
	expect(
		await issueAll([
			[5, 0, 1, 2],
			[1, 2],
		]),
	).toEqual([
		...["a5", "b0?", "a0", "b1", "a1", "b2", "b3-4?", "a2"],
		...["a3-4?", "b5?", "a5?"],
	]);
});

test("what an earlier run has read of a tensor is read for its checksum", async () => {
	expect(await issueAll([[0]], { blocksEach: 6, doneBlocks: 3 })).toEqual([
		...["a0-1?", "a2?", "a3", "a4", "a5"],
	]);
});

test("of one file, two reads for its checksum are under way at most", async () => {
	const { slices, scheduled, digests } = schedule([[5]]);
	const next = async () => {
		const { value } = await slices.next();
		digests.takePlaces((value as Scheduled).slice);
		return value as Scheduled;
	};
	const first = await next();
	await next();
	const third = next();
	const waits = new Promise((resolve) => setTimeout(resolve, 20, "waits"));
	expect(await Promise.race([third, waits])).toBe("waits");
	scheduled.made(first);
	expect((await third).slice.reads[0]?.fileOffset).toBe(4 * BLOCK);
});
