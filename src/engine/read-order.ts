import { INPUT, type MergePlan, type Segment, spansOf } from "../delta/plan.ts";

/** Bytes `[begin, end)` of a file. */
export interface ByteRange {
	begin: number;
	end: number;
}

/**
 * What is read of each file of some inputs, by input and shard, in the order it is; nothing of the fills.
 *
 * @param work  what is made, in its order, such as all shards of a plan
 */
export function readsByFile(
	inputs: MergePlan["inputs"],
	work: readonly { segments: readonly Segment[] }[],
): ByteRange[][][] {
	const reads = inputs.map((input): ByteRange[][] =>
		input.shards.map(() => []),
	);
	for (const span of work.flatMap(({ segments }) =>
		segments.flatMap(spansOf),
	)) {
		if (span.input === INPUT.fill || span.byteLength === 0) continue;
		const begin = span.fileOffset;
		reads[span.input]?.[span.shard]?.push({
			...{ begin, end: begin + span.byteLength },
		});
	}
	return reads;
}

/**
 * Of reads in the order they come, those to be hashed as they pass by a checksum of the whole file: the most bytes
 * that only go ahead in it. The bytes between them are read once more for it.
 */
export function heaviestAhead(reads: readonly ByteRange[]): ByteRange[] {
	const ends = [...new Set(reads.map(({ end }) => end))].sort((a, b) => a - b);
	const best = new PrefixBest(ends.length);
	const rank = (most: number) => countLeading(ends, (end) => end <= most);
	for (const range of reads) {
		const before = best.upTo(rank(range.begin));
		const weight = (before?.weight ?? 0) + range.end - range.begin;
		best.offer(rank(range.end), { range, before, weight });
	}
	const ahead: ByteRange[] = [];
	for (let chain = best.upTo(ends.length); chain; chain = chain.before)
		ahead.push(chain.range);
	return ahead.reverse();
}

/** Reads that go ahead, the last of them with those before it. */
interface Chain {
	range: ByteRange;
	before: Chain | null;
	/** bytes of all of them */
	weight: number;
}

/** The heaviest chain among those that end at one of the first places: a Fenwick tree of maxima. */
class PrefixBest {
	private readonly nodes: (Chain | null)[];

	constructor(count: number) {
		this.nodes = new Array(count + 1).fill(null);
	}

	upTo(count: number): Chain | null {
		let best: Chain | null = null;
		for (let i = count; i > 0; i -= i & -i)
			best = heavier(best, this.nodes[i] ?? null);
		return best;
	}

	/** @param rank  of its end, from 1 */
	offer(rank: number, chain: Chain): void {
		for (let i = rank; i < this.nodes.length; i += i & -i)
			this.nodes[i] = heavier(this.nodes[i] ?? null, chain);
	}
}

function heavier(a: Chain | null, b: Chain | null): Chain | null {
	if (a === null || b === null) return a ?? b;
	return b.weight > a.weight ? b : a;
}

/** How many items stand before the rest, in a list that is sorted so. */
export function countLeading<T>(
	sorted: readonly T[],
	isBefore: (item: T) => boolean,
): number {
	let [low, high] = [0, sorted.length];
	while (low < high) {
		const middle = (low + high) >> 1;
		if (isBefore(sorted[middle] as T)) low = middle + 1;
		else high = middle;
	}
	return low;
}
