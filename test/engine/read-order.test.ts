import fc from "fast-check";
import { expect, test } from "vitest";
import { type ByteRange, heaviestAhead } from "../../src/engine/read-order.ts";

const bytesOf = (ranges: readonly ByteRange[]) =>
	ranges.reduce((sum, { begin, end }) => sum + end - begin, 0);

/** The most bytes by trying every choice. */
function mostAhead(reads: readonly ByteRange[], from = 0): number {
	const [first, ...rest] = reads;
	if (!first) return 0;
	const without = mostAhead(rest, from);
	if (first.begin < from) return without;
	return Math.max(without, bytesOf([first]) + mostAhead(rest, first.end));
}

const reads = fc.array(
	fc
		.tuple(fc.nat({ max: 30 }), fc.integer({ min: 1, max: 12 }))
		.map(([begin, byteLength]) => ({ begin, end: begin + byteLength })),
	{ maxLength: 12 },
);

test("of reads in any order those that go ahead are chosen, and the most bytes of them", () => {
	fc.assert(
		fc.property(reads, (given) => {
			const chosen = heaviestAhead(given);
			expect(bytesOf(chosen)).toBe(mostAhead(given));
			let from = 0;
			let last = -1;
			for (const range of chosen) {
				expect(range.begin).toBeGreaterThanOrEqual(from);
				from = range.end;
				last = given.indexOf(range, last + 1);
				expect(last).toBeGreaterThanOrEqual(0);
			}
		}),
		{ numRuns: 2000, seed: 7 },
	);
});

test("of a hundred thousand reads all are chosen in order, and one against it", () => {
	const reads = Array.from({ length: 100_000 }, (_, i) => ({
		...{ begin: i * 10, end: i * 10 + 10 },
	}));
	expect(heaviestAhead(reads)).toEqual(reads);
	expect(heaviestAhead([...reads].reverse())).toHaveLength(1);
});
