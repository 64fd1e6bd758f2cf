import {
	type MergePlan,
	type OutputShard,
	type Segment,
	type Span,
	spansOf,
} from "../delta/plan.ts";
import { ShardCutter, type Slice } from "./slice.ts";

/** Bytes `[begin, end)` of an output file, and the segments they are made of. */
export interface Stretch {
	shardIndex: number;
	begin: number;
	end: number;
	segments: readonly Segment[];
}

/** Stretches of output files that are made one after the other, as slices. */
export class Track {
	readonly segments: readonly Segment[];
	/** of each stretch */
	readonly shardIndices: readonly number[];
	private readonly shards: readonly OutputShard[];
	private readonly stretches: Stretch[];
	private cutter: ShardCutter | null = null;

	constructor({ shards }: MergePlan, stretches: readonly Stretch[]) {
		this.shards = shards;
		this.stretches = [...stretches];
		this.segments = stretches.flatMap(({ segments }) => segments);
		this.shardIndices = stretches.map(({ shardIndex }) => shardIndex);
	}

	get isDone(): boolean {
		return this.stretches.length === 0;
	}

	/** The next slice, as {@link ShardCutter.next} cuts it, and the shard it belongs to. */
	next(
		sliceBytes: number,
		slotBytes: number,
	): { shardIndex: number; slice: Slice } {
		const [{ shardIndex, begin, end }] = this.stretches as [Stretch];
		const shard = this.shards[shardIndex] as OutputShard;
		this.cutter ??= new ShardCutter(shard, begin, end);
		const slice = this.cutter.next(sliceBytes, slotBytes);
		if (this.cutter.isDone) {
			this.stretches.shift();
			this.cutter = null;
		}
		return { shardIndex, slice };
	}
}

/** Each shard by itself, from its start to its end. */
export function tracksByShard(plan: MergePlan): Track[] {
	return plan.shards.map((shard, shardIndex) => {
		const { byteLength: end, segments } = shard;
		return new Track(plan, [{ shardIndex, begin: 0, end, segments }]);
	});
}

/**
 * For each file that passes a track, with all that is made of it in the order in which it passes; where both operands
 * pass, the second's order counts. What is made of no such file is a track for each shard.
 */
export function tracksByPassing(
	plan: MergePlan,
	passes: (span: Span) => boolean,
): Track[] {
	const tracks = new Map<string, { at: number; stretch: Stretch }[]>();
	const put = (key: string, at: number, stretch: Stretch) =>
		tracks.set(key, [...(tracks.get(key) ?? []), { at, stretch }]);
	for (const [shardIndex, shard] of plan.shards.entries()) {
		let begin = 0; // the header goes with the first segment
		for (const segment of shard.segments) {
			const { fileOffset, byteLength } = segment;
			const end = fileOffset + byteLength;
			const first = spansOf(segment).findLast(passes);
			const stretch = { shardIndex, begin, end, segments: [segment] };
			if (first)
				put(`${first.input}:${first.shard}`, first.fileOffset, stretch);
			else put(`shard ${shardIndex}`, begin, stretch);
			begin = end;
		}
		const { byteLength: end } = shard;
		const rest = { shardIndex, begin, end, segments: [] };
		if (begin < end) put(`shard ${shardIndex}`, begin, rest);
	}
	return [...tracks.values()].map((pieces) => {
		const sorted = pieces.sort((a, b) => a.at - b.at);
		return new Track(plan, joined(sorted.map(({ stretch }) => stretch)));
	});
}

/** Stretches that follow each other in one file as one. */
function joined(stretches: readonly Stretch[]): Stretch[] {
	const result: Stretch[] = [];
	for (const stretch of stretches) {
		const last = result.at(-1);
		if (last?.shardIndex === stretch.shardIndex && last.end === stretch.begin)
			result[result.length - 1] = {
				...{ ...last, end: stretch.end },
				segments: [...last.segments, ...stretch.segments],
			};
		else result.push(stretch);
	}
	return result;
}
