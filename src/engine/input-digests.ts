import { INPUT, type MergePlan, type Segment } from "../delta/plan.ts";
import type { FileSource } from "../io/file-source.ts";
import { DigestCursor, type HashedStretch } from "./digest-cursor.ts";
import type { Engine } from "./engine.ts";
import { heaviestAhead, readsByFile } from "./read-order.ts";
import type { Read, Slice } from "./slice.ts";

/** What a read has to do with the checksums. */
export interface HashedRead {
	stretches: readonly HashedStretch[];
	/** whether its bytes are read once for what is made of them, and once for the checksum */
	isOneOfTwo: boolean;
}

/**
 * The checksums of all input files, out of the very bytes that are read for the sums as far as those go ahead in
 * the file; what lies between is read once more. A SHA-256 is of a whole file, in its order; where only CRCs are
 * checked each record has an order of its own, and tensors may come in any.
 */
export class InputDigests {
	/** by input and shard; none for a file that passes, which is hashed where it comes from */
	private readonly byFile: DigestCursor[][][];
	/** whether their SHA-256 is taken; otherwise only the CRCs that files tell are checked */
	readonly inputSums: boolean;

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
					return checkedRanges.map((range) => {
						const checked = { checkedRanges: [range], begin: range.begin };
						const digest = engine.openDigest({ algorithm: null, ...checked });
						return new DigestCursor({
							...{ ...file, range, ahead: [range], digest },
						});
					});
				const digest = engine.openDigest({ checkedRanges });
				// What is gathered from several places stands behind the end.
				const inFile = reads[input]?.[shard]?.filter(
					({ end }) => end <= byteLength,
				);
				const ahead = heaviestAhead(inFile ?? []);
				const range = { begin: 0, end: byteLength };
				return [new DigestCursor({ ...file, range, ahead, digest })];
			}),
		);
	}

	/** Of all files, those that have not come to their end. */
	get unfinished(): DigestCursor[] {
		return this.byFile.flat(2).filter(({ isDone }) => !isDone);
	}

	/** Whether a slice must wait until what lies before its reads is hashed. */
	await(slice: Slice): boolean {
		let awaits = false;
		for (const read of slice.reads)
			for (const cursor of this.cursorsOf(read))
				if (cursor.awaits(read)) awaits = true; // each must know what is awaited of it
		return awaits;
	}

	/** Take the places of what a slice reads in order; slices in the order they are issued. @returns of each read */
	takePlaces({ reads, write }: Slice): HashedRead[] {
		return reads.map((read) => {
			const cursors = this.cursorsOf(read);
			const stretches: HashedStretch[] = [];
			for (const cursor of cursors) {
				const stretch = cursor.takePlace(read);
				if (stretch !== null) stretches.push(stretch);
			}
			const isHashedOnTheWay = write !== null && stretches.length > 0;
			const isHashed = this.inputSums && cursors.length > 0;
			return { stretches, isOneOfTwo: isHashed && !isHashedOnTheWay };
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
					shards.map(async ([whole]) => (await whole?.finish()) ?? null),
				),
			),
		);
	}

	/** Of the file that is read; none for a fill. */
	private cursorsOf({ input, shard }: Read): readonly DigestCursor[] {
		if (input === INPUT.fill) return [];
		const cursors = this.byFile[input]?.[shard];
		if (cursors === undefined)
			throw new RangeError(`no shard ${shard} of input ${input}`);
		return cursors;
	}
}
