import {
	type MergePlan,
	type OutputShard,
	type Segment,
	type Span,
	spansOf,
} from "../delta/plan.ts";
import type { ByteSource } from "../io/byte-source.ts";
import type { Reused } from "./resume.ts";
import { type OutputSlice, ShardCutter } from "./slice.ts";

/** Bytes `[begin, end)` of an output shard, and the segments they are made of. */
export interface Stretch {
	shardIndex: number;
	shard: OutputShard;
	begin: number;
	end: number;
	segments: readonly Segment[];
}

/** A slice and the shard it belongs to. */
export interface ShardSlice {
	shardIndex: number;
	slice: OutputSlice;
}

/** Stretches of output files that are made one after the other, as slices. */
export class Track {
	readonly segments: readonly Segment[];
	readonly stretches: readonly Stretch[];
	private readonly waiting: Stretch[];
	private cutter: ShardCutter | null = null;
	/** the next slice, once it was looked at */
	private cut: ShardSlice | null = null;
	/** slices that were given out and are not made yet */
	pending = 0;

	constructor(stretches: readonly Stretch[]) {
		this.stretches = stretches;
		this.waiting = [...stretches];
		this.segments = stretches.flatMap(({ segments }) => segments);
	}

	/** Whether all its slices were given out. */
	get isIssued(): boolean {
		return this.waiting.length === 0 && this.cut === null;
	}

	/** The next slice, as {@link ShardCutter.next} cuts it, and the shard it belongs to. */
	peek(sliceBytes: number, slotBytes: number): ShardSlice {
		if (this.cut !== null) return this.cut;
		const [{ shardIndex, shard, begin, end }] = this.waiting as [Stretch];
		this.cutter ??= new ShardCutter(shard, begin, end);
		const slice = this.cutter.next(sliceBytes, slotBytes);
		if (this.cutter.isDone) {
			this.waiting.shift();
			this.cutter = null;
		}
		this.cut = { shardIndex, slice };
		return this.cut;
	}

	/** The same, and give it out. */
	next(sliceBytes: number, slotBytes: number): ShardSlice {
		const next = this.peek(sliceBytes, slotBytes);
		this.cut = null;
		this.pending++;
		return next;
	}

	/** Say that one of its slices is made. @returns whether all of them are */
	made(): boolean {
		this.pending--;
		return this.isIssued && this.pending === 0;
	}
}

/** What is to be made of a plan's shards: all that no earlier run has left, in one stretch for each. */
export function unmade(
	{ shards }: MergePlan,
	{ whole, begun }: Pick<Reused, "whole" | "begun">,
): Stretch[] {
	return [...shards.entries()]
		.filter(([shardIndex]) => !whole.has(shardIndex))
		.map(([shardIndex, shard]) => {
			const begin = begun.get(shardIndex)?.fileOffset ?? 0;
			const { byteLength: end } = shard;
			const segments = shard.segments.filter(
				({ fileOffset, byteLength }) => fileOffset + byteLength > begin,
			);
			return { shardIndex, shard, begin, end, segments };
		});
}

/** Where files pass, the order of their bytes counts, and otherwise the output's. */
export function chooseTracks(
	plan: MergePlan,
	reused: Pick<Reused, "whole" | "begun">,
	sources: readonly (readonly ByteSource[])[],
): Track[] {
	const shards = unmade(plan, reused);
	const isPassing = ({ input, shard }: Span) =>
		sources[input]?.[shard]?.passing !== undefined;
	return sources.flat().some(({ passing }) => passing)
		? tracksByPassing(shards, isPassing)
		: tracksByShard(shards);
}

/** Each shard by itself, from its start to its end. */
export function tracksByShard(shards: readonly Stretch[]): Track[] {
	return shards.map((stretch) => new Track([stretch]));
}

/**
 * For each file that passes a track, with all that is made of it in the order in which it passes; where both operands
 * pass, the second's order counts. What is made of no such file is a track for each shard.
 */
export function tracksByPassing(
	shards: readonly Stretch[],
	passes: (span: Span) => boolean,
): Track[] {
	const tracks = new Map<string, { at: number; stretch: Stretch }[]>();
	const put = (key: string, at: number, stretch: Stretch) =>
		tracks.set(key, [...(tracks.get(key) ?? []), { at, stretch }]);
	for (const whole of shards) {
		const { shardIndex } = whole;
		let { begin } = whole; // the header goes with the first segment
		for (const segment of whole.segments) {
			const end = segment.fileOffset + segment.byteLength;
			if (end === begin) continue;
			const first = spansOf(segment).findLast(passes);
			const stretch = { ...whole, begin, end, segments: [segment] };
			if (first)
				put(`${first.input}:${first.shard}`, first.fileOffset, stretch);
			else put(`shard ${shardIndex}`, begin, stretch);
			begin = end;
		}
		const { end } = whole;
		if (begin < end || whole.begin === end)
			put(`shard ${shardIndex}`, begin, { ...whole, begin, segments: [] });
	}
	return [...tracks.values()].map((pieces) => {
		const sorted = pieces.sort((a, b) => a.at - b.at);
		return new Track(joined(sorted.map(({ stretch }) => stretch)));
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
