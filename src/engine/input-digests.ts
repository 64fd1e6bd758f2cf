import { INPUT, type MergePlan, type Segment } from "../delta/plan.ts";
import type { ByteSource } from "../io/byte-source.ts";
import type { CheckedRange } from "../io/checked-range.ts";
import { DIRECT_ALIGNMENT } from "../io/direct-io.ts";
import type { Digest, DigestPlace } from "./digest.ts";
import type { Engine } from "./engine.ts";
import {
	type ByteRange,
	countLeading,
	heaviestAhead,
	readsByFile,
} from "./read-order.ts";
import type { Read, Slice } from "./slice.ts";

/** A stretch of a read whose bytes are the next of their file's checksum. */
export interface HashedRead {
	place: DigestPlace;
	/** from the start of the read */
	byteOffset: number;
	byteLength: number;
}

/** Bytes of an input file that are hashed in their order. */
interface Stretch {
	input: number;
	shard: number;
	end: number;
	/** reads of the plan that are hashed as they pass, in the order of the file */
	ahead: readonly ByteRange[];
	digest: Digest;
	/** up to this offset of the file bytes have taken their place in the digest */
	hashed: number;
}

/**
 * The checksums of all input files, out of the very bytes that are read for the sums as far as those go ahead in
 * the file; what lies between is read once more. A SHA-256 is of a whole file, in its order; where only CRCs are
 * checked each record has an order of its own, and tensors may come in any.
 */
export class InputDigests {
	/** by input and shard; none for a file that passes, which is hashed where it comes from */
	private readonly stretches: Stretch[][][];
	private readonly inputSums: boolean;

	/**
	 * @param sources    the files of each input
	 * @param inputSums  take their SHA-256; otherwise only the CRCs that files tell are checked
	 * @param work       what will be made, in its order
	 */
	constructor(
		engine: Engine,
		plan: MergePlan,
		sources: readonly (readonly ByteSource[])[],
		inputSums: boolean,
		work: readonly { segments: readonly Segment[] }[],
	) {
		this.inputSums = inputSums;
		const reads = inputSums ? readsByFile(plan.inputs, work) : [];
		this.stretches = sources.map((shards, input) =>
			shards.map(({ byteLength, checkedRanges = [], passing }, shard) => {
				if (passing !== undefined) return [];
				const stretch = (
					begin: number,
					end: number,
					checkedRanges: readonly CheckedRange[],
					ahead: readonly ByteRange[],
				): Stretch => ({
					...{ input, shard, end, ahead, hashed: begin },
					digest: engine.openDigest({
						algorithm: inputSums ? "sha256" : null,
						...{ checkedRanges, begin },
					}),
				});
				if (!inputSums)
					return checkedRanges.map((each) =>
						stretch(each.begin, each.end, [each], [each]),
					);
				// What is gathered from several places stands behind the end.
				const inFile = reads[input]?.[shard]?.filter(
					({ end }) => end <= byteLength,
				);
				const ahead = heaviestAhead(inFile ?? []);
				return [stretch(0, byteLength, checkedRanges, ahead)];
			}),
		);
	}

	/** Whether there is nothing to take or check. */
	get isEmpty(): boolean {
		return !this.inputSums && this.stretches.flat(2).length === 0;
	}

	/** Slices that must be run before this one, so that what it reads comes next. */
	*catchUp(slice: Slice, sliceBytes: number): Generator<Slice> {
		for (const read of slice.reads)
			for (const stretch of this.stretchesOf(read)) {
				if (isAhead(stretch, read))
					yield* this.rest(stretch, read.fileOffset, sliceBytes);
			}
	}

	/** Slices for all that was never read in order. */
	*remainder(sliceBytes: number): Generator<Slice> {
		for (const stretch of this.stretches.flat(2))
			yield* this.rest(stretch, stretch.end, sliceBytes);
	}

	/** Take the places of what this read brings in order; in the order the slices are issued. */
	takePlaces(read: Read): HashedRead[] {
		const places: HashedRead[] = [];
		for (const stretch of this.stretchesOf(read)) {
			const { hashed } = stretch;
			const end = Math.min(endOf(read), stretch.end);
			if (read.fileOffset > hashed || end <= hashed) continue;
			stretch.hashed = end;
			places.push({
				place: stretch.digest.takePlace(),
				byteOffset: hashed - read.fileOffset,
				byteLength: end - hashed,
			});
		}
		return places;
	}

	/**
	 * After the last slice.
	 *
	 * @returns SHA-256 in hex of each file of each input, null for those that pass; or null
	 */
	async finish(): Promise<(string | null)[][] | null> {
		if (!this.inputSums) return null;
		return Promise.all(
			this.stretches.map((shards) =>
				Promise.all(
					shards.map(async ([whole]) => (await whole?.digest.finish()) ?? null),
				),
			),
		);
	}

	private *rest(
		stretch: Stretch,
		until: number,
		sliceBytes: number,
	): Generator<Slice> {
		const end = Math.min(until, stretch.end);
		while (stretch.hashed < end) {
			const { input, shard, hashed } = stretch;
			const fileOffset = hashed - (hashed % DIRECT_ALIGNMENT);
			const byteLength = Math.min(sliceBytes, end - fileOffset);
			const wanted = { begin: hashed, end: fileOffset + byteLength };
			const read = { input, shard, fileOffset, byteLength, slotOffset: 0 };
			yield {
				...{ reads: [{ ...read, wanted }], literals: [] },
				...{ parts: [], write: null },
			};
			if (stretch.hashed === hashed)
				throw new RangeError("a slice to catch up was not run");
		}
	}

	/** Of the file that is read; none for a fill. */
	private stretchesOf({ input, shard }: Read): readonly Stretch[] {
		if (input === INPUT.fill) return [];
		const stretches = this.stretches[input]?.[shard];
		if (stretches === undefined)
			throw new RangeError(`no shard ${shard} of input ${input}`);
		return stretches;
	}
}

/** Whether a read is of those that are hashed as they pass; what it touches at its edges does not count. */
function isAhead({ ahead }: Stretch, { wanted }: Read): boolean {
	const next = ahead[countLeading(ahead, ({ end }) => end <= wanted.begin)];
	return next !== undefined && next.begin < wanted.end;
}

function endOf({ fileOffset, byteLength }: Read): number {
	return fileOffset + byteLength;
}
