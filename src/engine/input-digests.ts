import { INPUT } from "../delta/plan.ts";
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
	private readonly files: InputFile[][];

	/** @param byteLengths  of each file of each input */
	constructor(engine: Engine, byteLengths: readonly (readonly number[])[]) {
		this.files = byteLengths.map((shards, input) =>
			shards.map((byteLength, shard) => ({
				...{ input, shard, byteLength, hashed: 0 },
				digest: engine.openDigest(),
			})),
		);
	}

	/** Slices that must be run before this one, so that what it reads comes next. */
	*catchUp(slice: Slice, sliceBytes: number): Generator<Slice> {
		for (const { input, shard, fileOffset } of slice.reads) {
			if (input === INPUT.fill) continue;
			const file = this.fileOf(input, shard);
			if (fileOffset - file.hashed <= MAX_CATCH_UP_BYTES)
				yield* this.rest(file, fileOffset, sliceBytes);
		}
	}

	/** Slices for all that was never read in order. */
	*remainder(sliceBytes: number): Generator<Slice> {
		for (const file of this.files.flat())
			yield* this.rest(file, file.byteLength, sliceBytes);
	}

	/** Take the place of what this read brings in order, if it does; in the order the slices are issued. */
	takePlace(read: Read): HashedRead | null {
		if (read.input === INPUT.fill) return null;
		const file = this.fileOf(read.input, read.shard);
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

	/** SHA-256 in hex of each file of each input, after the last slice. */
	async finish(): Promise<string[][]> {
		return Promise.all(
			this.files.map((shards) =>
				Promise.all(shards.map(({ digest }) => digest.finish())),
			),
		);
	}

	private *rest(
		file: InputFile,
		end: number,
		sliceBytes: number,
	): Generator<Slice> {
		while (file.hashed < end) {
			const { input, shard, hashed } = file;
			const fileOffset = hashed - (hashed % DIRECT_ALIGNMENT);
			const byteLength = Math.min(sliceBytes, end - fileOffset);
			const read = { input, shard, fileOffset, byteLength, slotOffset: 0 };
			yield { reads: [read], literals: [], parts: [], write: null };
			if (file.hashed === hashed)
				throw new RangeError("a slice to catch up was not run");
		}
	}

	private fileOf(input: number, shard: number): InputFile {
		const file = this.files[input]?.[shard];
		if (!file) throw new RangeError(`no shard ${shard} of input ${input}`);
		return file;
	}
}
