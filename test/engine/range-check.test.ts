import { crc32 } from "node:zlib";
import { expect, test } from "vitest";
import { RangeCheck } from "../../src/engine/range-check.ts";

const BYTES = Uint8Array.from({ length: 4000 }, (_, i) => (i * 31) >> 3);
const [BEGIN, END] = [100, 3000];

/** Check a range of what must be `BYTES`, out of pieces between these offsets, in this order. */
function check(pieces: [number, number][], bytes = BYTES): void {
	const expected = crc32(BYTES.subarray(BEGIN, END));
	const range = { where: "record", begin: BEGIN, end: END, crc32: expected };
	const checked = new RangeCheck(range);
	for (const [begin, end] of pieces)
		checked.take({ begin, end }, crc32(bytes.subarray(begin, end)));
}

const ORDERS: [number, number][][] = [
	[[BEGIN, END]],
	[
		[BEGIN, 1000],
		[1000, 2000],
		[2000, END],
	],
	[
		[2000, END],
		[BEGIN, 1000],
		[1000, 2000],
	],
];

test.each(ORDERS.map((pieces) => ({ pieces })))(
	"pieces come in any order: $pieces",
	({ pieces }) => {
		check(pieces);
	},
);

test.each([BEGIN, 1500, END - 1])(
	"a wrong byte %i is found with the last piece",
	(at) => {
		const wrong = Uint8Array.from(BYTES);
		wrong[at] = (wrong[at] ?? 0) ^ 0x80;
		for (const pieces of ORDERS) {
			check(pieces.slice(1), wrong);
			expect(() => check(pieces, wrong)).toThrow(/record.*CRC-32 differs/s);
		}
	},
);
