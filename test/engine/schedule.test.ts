import { expect, onTestFinished, test, vi } from "vitest";
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

const dropPages = () => {};

interface PlanOptions {
	/** of a tensor */
	blocksEach?: number;
	/** one is copied, two are joined */
	inputs?: 1 | 2;
}

/** A plan whose shards each are made of tensors, which lie anywhere in a file of its own of each input. */
function planOf(
	shards: readonly (readonly number[])[],
	{ blocksEach = 1, inputs = 1 }: PlanOptions,
): MergePlan {
	const byteLength = blocksEach * BLOCK;
	const span = (input: number, shard: number, block: number) => ({
		...{ input, shard, fileOffset: block * BLOCK, byteLength },
	});
	return {
		inputs: Array.from({ length: inputs }, () => ({
			shards: shards.map(() => ({})),
		})),
		fills: [],
		shards: shards.map((firstBlocks, shard) => ({
			...{ header: null, byteLength: firstBlocks.length * byteLength },
			segments: firstBlocks.map((block, i) => ({
				...{ tensor: `${block}`, fileOffset: i * byteLength, byteLength },
				...(inputs === 1
					? { op: "copy", dtype: "F16", from: span(INPUT.base, shard, block) }
					: {
							op: "xor",
							base: span(INPUT.base, shard, block),
							delta: span(INPUT.delta, shard, block),
						}),
			})),
		})),
	} as never;
}

/** The slices of a plan, and what they are told to. */
function schedule(
	shards: readonly (readonly number[])[],
	{
		doneBlocks = 0,
		chooseReading = async () => {},
		...options
	}: PlanOptions & {
		doneBlocks?: number;
		chooseReading?: FileSource["chooseReading"];
	} = {},
) {
	const { inputs = 1 } = options;
	const engine = new Engine(
		decideEngineOptions({ kernel: "js", threads: 2 }),
		2 * inputs * BLOCK,
	);
	onTestFinished(() => engine.close());
	const kernel = { ...engine.crew.kernel, dropPages };
	Object.assign(engine.crew, { kernel });
	const plan = planOf(shards, options);
	const sources = plan.inputs.map(({ shards: files }) =>
		files.map(
			() =>
				({
					byteLength: BLOCKS * BLOCK,
					chooseReading,
				}) as unknown as FileSource,
		),
	);
	const begun = new Map([[0, { fileOffset: doneBlocks * BLOCK }]]) as never;
	const tracks = tracksByShard(unmade(plan, { ...NOTHING_REUSED, begun }));
	const digests = new InputDigests(
		...([engine, plan, sources, true, tracks] as const),
	);
	const scheduled = new Schedule(plan, tracks, sources, engine, {
		...{ digests, sharesFiles: false },
		onFailure: (error) => expect.fail(String(error)),
	});
	const slices = scheduled.slices({ sliceBytes: BLOCK } as Pace);
	return { slices, scheduled, digests };
}

/** The file that a slice reads first, which of its blocks, and whether only for the checksum. */
function describe(next: Scheduled): string {
	const [read] = next.slice.reads;
	const { shard, fileOffset, byteLength } = read as Read;
	const [first, end] = [fileOffset / BLOCK, (fileOffset + byteLength) / BLOCK];
	const blocks = end - first === 1 ? first : `${first}-${end - 1}`;
	return `${"abc"[shard]}${blocks}${"shardIndex" in next ? "" : "?"}`;
}

/** @returns what is issued, in its order */
async function issueAll(...plan: Parameters<typeof schedule>) {
	const { slices, scheduled, digests } = schedule(...plan);
	const issued: string[] = [];
	for await (const next of slices) {
		digests.takePlaces(next.slice);
		issued.push(describe(next));
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
		...["a0-1?", "b0", "a2-3?", "a4", "b1", "a5", "b2"],
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
		...["a5", "a0", "b0?", "a1", "b1", "a2", "b2", "a3-4?"],
		...["b3-4?", "a5?", "b5?"],
	]);
});

test("nothing is begun beside a track whose checksums are work for all threads", async () => {
	const shards = [[5], [0, 1, 2, 3, 4, 5]];
	expect(await issueAll(shards, { inputs: 2 })).toEqual([
		...["a0-3?", "a0-3?", "a4?", "a4?", "a5", "b0"],
		...["b1", "b2", "b3", "b4", "b5"],
	]);
});

/** @returns what is issued, in its order, before anything is made */
async function issueUntilFull(...plan: Parameters<typeof schedule>) {
	const { slices, digests } = schedule(...plan);
	const issued: string[] = [];
	const issue = async () => {
		for await (const next of slices) {
			digests.takePlaces(next.slice);
			issued.push(describe(next));
		}
	};
	const waits = new Promise((resolve) => setTimeout(resolve, 20));
	await Promise.race([issue(), waits]);
	return issued;
}

const IN_ORDER = [0, 1, 2, 3, 4, 5];

test("of the slots of two tracks, the first has most", async () => {
	const issued = await issueUntilFull([IN_ORDER, IN_ORDER], { inputs: 2 });
	expect(issued.sort()).toEqual(["a0", "a1", "a2", "a3", "b0", "b1"]);
});

test("no more tracks are under way than threads", async () => {
	const issued = await issueUntilFull([IN_ORDER, IN_ORDER, IN_ORDER]);
	expect(issued.filter((slice) => slice.startsWith("c"))).toEqual([]);
});

test("a track that is alone has all slots", async () => {
	expect(await issueUntilFull([IN_ORDER], { inputs: 2 })).toEqual([
		...["a0", "a1", "a2", "a3", "a4", "a5"],
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

test("files are read as was chosen, and are told how to let pages go", async () => {
	const chooseReading = vi.fn(async () => {});
	schedule([[0]], { chooseReading });
	await vi.waitFor(() =>
		expect(chooseReading.mock.calls).toEqual([["auto", dropPages]]),
	);
});
