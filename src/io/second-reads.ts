/** So much is told of at once: a fraction of a read, and as much as the largest pages. */
const BLOCK_BYTES = 2 ** 21;

/** Finds what of a file was read twice, where all that is told of is read twice, in whatever order. */
export class SecondReads {
	private readonly byteLength: number;
	private readonly onSecond: (fileOffset: number, byteLength: number) => void;
	/** of each block, how many bytes were read; what was read twice counts twice */
	private readonly counts: Float64Array;

	/** @param onSecond  called with whole blocks that were read twice, once */
	constructor(
		byteLength: number,
		onSecond: (fileOffset: number, byteLength: number) => void,
	) {
		this.byteLength = byteLength;
		this.onSecond = onSecond;
		this.counts = new Float64Array(Math.ceil(byteLength / BLOCK_BYTES));
	}

	/** Say that a stretch of the file was read. */
	read(fileOffset: number, byteLength: number): void {
		const end = Math.min(fileOffset + byteLength, this.byteLength);
		let done = { begin: 0, end: 0 };
		let at = fileOffset;
		while (at < end) {
			const block = Math.floor(at / BLOCK_BYTES);
			const blockBegin = block * BLOCK_BYTES;
			const blockEnd = Math.min(blockBegin + BLOCK_BYTES, this.byteLength);
			const until = Math.min(end, blockEnd);
			if (this.completes(block, until - at, 2 * (blockEnd - blockBegin))) {
				if (done.end !== blockBegin) this.tell(done);
				const begin = done.end === blockBegin ? done.begin : blockBegin;
				done = { begin, end: blockEnd };
			}
			at = until;
		}
		this.tell(done);
	}

	private completes(block: number, byteLength: number, whole: number): boolean {
		const before = this.counts[block] as number;
		this.counts[block] = before + byteLength;
		return before < whole && before + byteLength >= whole;
	}

	private tell({ begin, end }: { begin: number; end: number }): void {
		if (begin < end) this.onSecond(begin, end - begin);
	}
}
