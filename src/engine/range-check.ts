import { type CheckedRange, wrongCrc } from "../io/checked-range.ts";
import { crc32Share } from "../kernel/crc32-share.ts";
import type { ByteRange } from "./read-order.ts";

/** The CRC-32 of a checked range, out of those of its pieces, which come in any order, each byte once. */
export class RangeCheck {
	private readonly range: CheckedRange;
	private crc32 = 0;
	/** bytes that have not come yet */
	private left: number;

	constructor(range: CheckedRange) {
		this.range = range;
		this.left = range.end - range.begin;
	}

	/**
	 * @param piece  which bytes of the file
	 * @param crc32  theirs, after nothing
	 * @throws {FormatError} with the last piece, where the range has another CRC-32 than it must
	 */
	take({ begin, end }: ByteRange, crc32: number): void {
		const { range } = this;
		this.crc32 = (this.crc32 ^ crc32Share(crc32, range.end - end)) >>> 0;
		this.left -= end - begin;
		if (this.left === 0 && this.crc32 !== range.crc32)
			throw wrongCrc(range.where, range.crc32, this.crc32);
	}
}
