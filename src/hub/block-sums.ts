import { createHash } from "node:crypto";
import { SpoiltOnItsWay } from "../errors.ts";

/** Files are compared in blocks of this length: what is read again is widened to them. */
export const BLOCK_BYTES = 2 ** 16;

/** Bytes `[begin, end)` of a file, from a block's start to another's, or to the end of the file. */
export interface BlockReader {
	/** @throws {SpoiltOnItsWay} where a block was another when it came before */
	take(bytes: Uint8Array): void;
}

/**
 * What each block of a file was when it came, so that one that comes twice is compared with itself: a checksum of the
 * whole file is of what came in its order alone. Eight bytes for each block are kept.
 */
export class BlockSums {
	private readonly where: string;
	private readonly byteLength: number;
	/** by block; 0 where it has not come yet */
	private readonly sums: BigUint64Array;

	/** @param where  the file, for messages */
	constructor(where: string, byteLength: number) {
		this.where = where;
		this.byteLength = byteLength;
		this.sums = new BigUint64Array(Math.ceil(byteLength / BLOCK_BYTES));
	}

	/** Follow what comes from a block's start on. */
	from(begin: number): BlockReader {
		let at = begin;
		let hash = createHash("sha256");
		return {
			take: (bytes) => {
				for (let done = 0; done < bytes.length; ) {
					const block = Math.floor(at / BLOCK_BYTES);
					const end = Math.min((block + 1) * BLOCK_BYTES, this.byteLength);
					const part = bytes.subarray(done, done + end - at);
					hash.update(part);
					done += part.length;
					at += part.length;
					if (at < end) continue;
					this.compare(block, hash.digest().readBigUInt64LE());
					hash = createHash("sha256");
				}
			},
		};
	}

	private compare(block: number, sum: bigint): void {
		const before = this.sums[block];
		if (before !== 0n && before !== sum)
			throw new SpoiltOnItsWay({
				where: `${this.where}, byte ${block * BLOCK_BYTES}`,
				what: "other bytes came one time than another",
				remedy: "Is HF_ENDPOINT a mirror, or a proxy in between? Try without",
			});
		this.sums[block] = sum;
	}
}
