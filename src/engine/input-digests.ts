import { INPUT, type MergePlan, type Segment } from "../delta/plan.ts";
import type { FileSource } from "../io/file-source.ts";
import type { Digest, DigestPlace } from "./digest.ts";
import { DigestCursor } from "./digest-cursor.ts";
import type { Engine } from "./engine.ts";
import { RangeCheck } from "./range-check.ts";
import { heaviestAhead, readsByFile } from "./read-order.ts";
import type { Read, Slice } from "./slice.ts";

/** Bytes of a read, counted from its start. */
interface ReadStretch {
	byteOffset: number;
	byteLength: number;
}

/** The next bytes of a SHA-256. */
interface HashedStretch extends ReadStretch {
	place: DigestPlace;
}

/** Bytes of which only the CRC-32 is wanted. */
interface CheckedStretch extends ReadStretch {
	/** @throws {FormatError} where it shows that they are damaged */
	take(crc32: number): void;
}

/** What a read has to do with the checksums. */
export interface HashedRead {
	hashed: readonly HashedStretch[];
	checked: readonly CheckedStretch[];
	/** whether its bytes are read once for what is made of them, and once for the checksum */
	isOneOfTwo: boolean;
}

/** How far a file has come, or one of its records, and what its bytes are taken into. */
type Followed = { cursor: DigestCursor } & (
	| { digest: Digest }
	| { check: RangeCheck }
);

/**
 * The checksums of all input files, out of the very bytes that are read for the sums as far as those go ahead in
 * the file; what lies between is read once more. A SHA-256 is of a whole file, in its order; where only CRCs are
 * checked each record is followed by itself, and tensors may come in any order.
 */
export class InputDigests {
	/** by input and shard; none for a file that passes, which is hashed where it comes from */
	private readonly byFile: Followed[][][];
	/** whether their SHA-256 is taken; otherwise only the CRCs that files tell are checked */
	private readonly inputSums: boolean;

	/**
	 * @param sources    the files of each input
	 * @param work       what will be made, in its order
	 */
	constructor(
		engine: Engine,
		plan: MergePlan,
		sources: readonly (readonly FileSource[])[],
		inputSums: boolean,
		work: readonly { segments: readonly Segment[] }[],
	) {
		this.inputSums = inputSums;
		const reads = inputSums ? readsByFile(plan.inputs, work) : [];
		this.byFile = sources.map((shards, input) =>
			shards.map((source, shard) => {
				const { byteLength, checkedRanges = [], passing } = source;
				if (passing !== undefined) return [];
				const file = { input, shard, source };
				if (!inputSums)
					return checkedRanges.map((range) => ({
						cursor: new DigestCursor({ ...file, range, ahead: [range] }),
						check: new RangeCheck(range),
					}));
				const digest = engine.openDigest({ checkedRanges });
				// What is gathered from several places stands behind the end.
				const inFile = reads[input]?.[shard]?.filter(
					({ end }) => end <= byteLength,
				);
				const ahead = heaviestAhead(inFile ?? []);
				const range = { begin: 0, end: byteLength };
				const cursor = new DigestCursor({ ...file, range, ahead });
				return [{ cursor, digest }];
			}),
		);
	}

	/** Of all files, those that have not come to their end. */
	get unfinished(): DigestCursor[] {
		const cursors = this.byFile.flat(2).map(({ cursor }) => cursor);
		return cursors.filter(({ isDone }) => !isDone);
	}

	/** Whether a slice must wait until what lies before its reads is hashed. */
	await(slice: Slice): boolean {
		let awaits = false;
		for (const read of slice.reads)
			for (const { cursor } of this.followedOf(read))
				if (cursor.awaits(read)) awaits = true; // each must know what is awaited of it
		return awaits;
	}

	/** Take the places of what a slice reads in order; slices in the order they are issued. @returns of each read */
	takePlaces({ reads, write }: Slice): HashedRead[] {
		return reads.map((read) => {
			const followed = this.followedOf(read);
			const hashed: HashedStretch[] = [];
			const checked: CheckedStretch[] = [];
			for (const each of followed) {
				const range = each.cursor.takePlace(read);
				if (range === null) continue;
				const { begin, end } = range;
				const byteOffset = begin - read.fileOffset;
				const stretch = { byteOffset, byteLength: end - begin };
				if ("digest" in each)
					hashed.push({ ...stretch, place: each.digest.takePlace() });
				else {
					const take = (crc32: number) => each.check.take(range, crc32);
					checked.push({ ...stretch, take });
				}
			}
			const isHashedOnTheWay = write !== null && hashed.length > 0;
			const isHashed = this.inputSums && followed.length > 0;
			const isOneOfTwo = isHashed && !isHashedOnTheWay;
			return { hashed, checked, isOneOfTwo };
		});
	}

	/**
	 * After the last slice.
	 *
	 * @returns SHA-256 in hex of each file of each input, null for those that pass; or null
	 */
	async finish(): Promise<(string | null)[][] | null> {
		if (!this.inputSums) return null;
		return Promise.all(
			this.byFile.map((shards) =>
				Promise.all(
					shards.map(async ([whole]) =>
						whole && "digest" in whole ? whole.digest.finish() : null,
					),
				),
			),
		);
	}

	/** Of the file that is read; none for a fill. */
	private followedOf({ input, shard }: Read): readonly Followed[] {
		if (input === INPUT.fill) return [];
		const followed = this.byFile[input]?.[shard];
		if (followed === undefined)
			throw new RangeError(`no shard ${shard} of input ${input}`);
		return followed;
	}
}
