import { DIRECT_ALIGNMENT } from "../io/direct-io.ts";
import type { FileSource } from "../io/file-source.ts";
import { type ByteRange, countLeading } from "./read-order.ts";
import type { Read, Slice } from "./slice.ts";

export interface CursorOptions {
	/** which file of the plan's inputs */
	input: number;
	shard: number;
	source: FileSource;
	/** what is hashed: bytes `[begin, end)` of the file */
	range: ByteRange;
	/** reads of the plan that are hashed as they pass, in the order of the file */
	ahead: readonly ByteRange[];
}

/**
 * How far the checksum of a file has come. It takes the bytes in their order: those ahead of it as the plan reads
 * them, all others by reads of its own.
 */
export class DigestCursor {
	readonly source: FileSource;
	/** reads of its own that are under way */
	pending = 0;
	private readonly file: { input: number; shard: number };
	private readonly end: number;
	private readonly ahead: readonly ByteRange[];
	/** up to this offset of the file bytes have taken their place in the checksum */
	private hashed: number;
	/** a slice waits until it has come so far */
	private awaited = 0;

	constructor(options: CursorOptions) {
		const { input, shard, source, range, ahead } = options;
		this.source = source;
		this.file = { input, shard };
		this.end = range.end;
		this.ahead = ahead;
		this.hashed = range.begin;
	}

	get isDone(): boolean {
		return this.hashed === this.end;
	}

	/** Whether a slice waits for bytes that have no place yet. */
	get isAwaited(): boolean {
		return this.hashed < this.awaited;
	}

	/** Whether a read that is to be hashed as it passes must wait for bytes before it: those then come next. */
	awaits({ fileOffset, wanted }: Read): boolean {
		if (fileOffset <= this.hashed) return false;
		// What a read touches at its edges does not count.
		const first = this.firstAhead(wanted.begin);
		if (first === undefined || first.begin >= wanted.end) return false;
		this.awaited = Math.max(this.awaited, Math.min(fileOffset, this.end));
		return true;
	}

	/** Take the place of what a read brings in order; in the order in which slices are issued. @returns its bytes */
	takePlace({ fileOffset, byteLength }: Read): ByteRange | null {
		const { hashed: begin } = this;
		const end = Math.min(fileOffset + byteLength, this.end);
		if (fileOffset > begin || end <= begin) return null;
		this.hashed = end;
		return { begin, end };
	}

	/**
	 * A slice for bytes that the plan will not bring in order; it is to be issued before the next is asked for.
	 *
	 * @param mostBytes  room for what it reads
	 * @param goesOn  whether the plan brings no more, so that all that is left is to be read
	 * @returns null where the next bytes come as the plan reads them
	 */
	next(mostBytes: number, goesOn: boolean): Slice | null {
		const { hashed, end, awaited } = this;
		const come = this.firstAhead(hashed)?.begin ?? end;
		const until = goesOn ? end : Math.max(come, awaited);
		if (hashed >= until) return null;
		const fileOffset = hashed - (hashed % DIRECT_ALIGNMENT);
		const byteLength = Math.min(mostBytes, until - fileOffset);
		this.pending++;
		const { input, shard } = this.file;
		const wanted = { begin: hashed, end: fileOffset + byteLength };
		const read = {
			input,
			shard,
			fileOffset,
			byteLength,
			slotOffset: 0,
			wanted,
		};
		return { reads: [read], literals: [], parts: [], write: null };
	}

	/** Say that one of its reads is done. @returns whether all of the file is hashed */
	made(): boolean {
		this.pending--;
		return this.isDone && this.pending === 0;
	}

	/** Of what is hashed as it passes, the first that ends behind an offset. */
	private firstAhead(offset: number): ByteRange | undefined {
		return this.ahead[countLeading(this.ahead, ({ end }) => end <= offset)];
	}
}
