import { crc32 } from "node:zlib";
import { expect, test } from "vitest";
import { crc32Share } from "../../src/kernel/crc32-share.ts";

const BYTES = Uint8Array.from({ length: 5000 }, (_, i) => (i * i * 167) >> 5);

/** @param cuts  where pieces end, beside the end of all */
function shares(cuts: number[]): number[] {
	return [...cuts, BYTES.length].map((end, i) => {
		const piece = BYTES.subarray(cuts[i - 1] ?? 0, end);
		return crc32Share(crc32(piece), BYTES.length - end);
	});
}

test.each([[[]], [[1]], [[4999]], [[0, 5000]], [[7, 8, 64, 1000, 1000, 4097]]])(
	"what pieces that end at %j give is the CRC-32 of all",
	(cuts) => {
		const all = shares(cuts).reduce((sum, share) => sum ^ share, 0);
		expect(all >>> 0).toBe(crc32(BYTES));
	},
);

test("more bytes may follow than 32 bits count", () => {
	// After so many bits all powers of x come again.
	const period = 2 ** 32 - 1;
	const piece = crc32(BYTES);
	expect(crc32Share(piece, period)).toBe(piece);
	expect(crc32Share(piece, 3 * period + 5)).toBe(crc32Share(piece, 5));
});
