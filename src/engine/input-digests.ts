import type { ByteSource } from "../io/byte-source.ts";
import { DIRECT_ALIGNMENT } from "../io/direct-io.ts";
import type { Digest, DigestPlace } from "./digest.ts";
import type { Engine } from "./engine.ts";
import type { Read, Slice } from "./slice.ts";

/** A stretch of a read whose bytes are the next of their file's checksum. */
export interface HashedRead {
	place: DigestPlace;
	/** from the start of the read */
	byteOffset: number;
	byteLength: number;
}

/** A gap this small is read to keep up: a header, or a tensor the merge has no use for. */
const MAX_CATCH_UP_BYTES = 2 ** 20;

interface InputFile {
	input: number;
	shard: number;
	/** of the file itself: what can be read behind its end is not in its checksum */
	byteLength: number;
	digest: Digest;
	/** bytes that have taken their place in the digest */
	hashed: number;
}

/**
 * The checksums of all input files, out of the very bytes that are read for the sums as far as those come
 * in order; what did not come in order is read again at the end.
 */
export class InputDigests {
	private readonly files: (InputFile | null)[][];
	private readonly inputSums: boolean;

	/**
	 * @param sources    the files of each input
	 * @param inputSums  take their SHA-256; otherwise only the CRCs that files tell are checked
	 */
	constructor(
		engine: Engine,
		sources: readonly (readonly ByteSource[])[],
		inputSums: boolean,
	) {
		this.inputSums = inputSums;
		this.files = sources.map((shards, input) =>
			shards.map(({ byteLength, checkedRanges = [] }, shard) =>
				inputSums || checkedRanges.length > 0
					? {
							...{ input, shard, byteLength, hashed: 0 },
							digest: engine.openDigest({ sha256: inputSums, checkedRanges }),
						}
					: null,
			),
		);
	}

	/** Whether there is nothing to take or check. */
	get isEmpty(): boolean {
		return this.files.flat().every((file) => file === null);
	}

	/** Slices that must be run before this one, so that what it reads comes next. */
	*catchUp(slice: Slice, sliceBytes: number): Generator<Slice> {
		for (const { input, shard, fileOffset } of slice.reads) {
			const file = this.fileOf(input, shard);
			if (file && fileOffset - file.hashed <= MAX_CATCH_UP_BYTES)
				yield* this.rest(file, fileOffset, sliceBytes);
		}
	}

	/** Slices for all that was never read in order. */
	*remainder(sliceBytes: number): Generator<Slice> {
		for (const file of this.files.flat())
			if (file) yield* this.rest(file, file.byteLength, sliceBytes);
	}

	/** Take the place of what this read brings in order, if it does; in the order the slices are issued. */
	takePlace(read: Read): HashedRead | null {
		const file = this.fileOf(read.input, read.shard);
		if (!file) return null;
		const end = Math.min(read.fileOffset + read.byteLength, file.byteLength);
		if (read.fileOffset > file.hashed || end <= file.hashed) return null;
		const byteOffset = file.hashed - read.fileOffset;
		file.hashed = end;
		return {
			place: file.digest.takePlace(),
			byteOffset,
			byteLength: end - read.fileOffset - byteOffset,
		};
	}

	/** After the last slice. @returns SHA-256 in hex of each file of each input, or null */
	async finish(): Promise<string[][] | null> {
		if (!this.inputSums) return null;
		return Promise.all(
			this.files.map((shards) =>
				Promise.all(shards.map((file) => file?.digest.finish() ?? "")),
			),
		);
	}

	private *rest(
		file: InputFile,
		end: number,
		sliceBytes: number,
	): Generator<Slice> {
		const fileEnd = Math.min(end, file.byteLength);
		while (file.hashed < fileEnd) {
			const { input, shard, hashed } = file;
			const fileOffset = hashed - (hashed % DIRECT_ALIGNMENT);
			const byteLength = Math.min(sliceBytes, fileEnd - fileOffset);
			const read = { input, shard, fileOffset, byteLength, slotOffset: 0 };
			yield { reads: [read], literals: [], adds: [], write: null };
			if (file.hashed === hashed)
				throw new RangeError("a slice to catch up was not run");
		}
	}

	private fileOf(input: number, shard: number): InputFile | null {
		const file = this.files[input]?.[shard];
		if (file === undefined)
			throw new RangeError(`no shard ${shard} of input ${input}`);
		return file;
	}
}
