import fc from "fast-check";
import { expect, test } from "vitest";
import {
	countDifferences,
	createDifferenceScratch,
} from "../../src/kernel/differences.ts";
import { DTYPES, type Dtype } from "../../src/tensor/dtype.ts";

const scratch = createDifferenceScratch();
const count = (dtype: Dtype, a: Uint8Array, b: Uint8Array) =>
	countDifferences(dtype, a, b, scratch);

/** Elements as strings of bits, the first in the lowest bits. */
function elementsOf(dtype: Dtype, bytes: Uint8Array): string[] {
	const all = [...bytes]
		.map((byte) => [...byte.toString(2).padStart(8, "0")].reverse().join(""))
		.join("");
	return all.match(new RegExp(`.{${DTYPES[dtype].bits}}`, "g")) ?? [];
}

/** One of each way to count. */
const KINDS: Dtype[] = [
	"F4",
	"F6_E2M3",
	"I8",
	"F16",
	"BF16",
	"F32",
	"F64",
	"C64",
];

test.each(KINDS)(
	"elements of %s that differ are counted, wherever they lie",
	(dtype) => {
		const place = fc.record({
			// Dense at the start and where one run ends, so that an element has several.
			at: fc.oneof(
				...[fc.nat(5), fc.integer({ min: 16_380, max: 16_388 })],
				...[fc.integer({ min: 12_286, max: 12_290 }), fc.nat(40_000)],
			),
			bit: fc.nat(7),
		});
		fc.assert(
			fc.property(
				fc.array(place, { maxLength: 40 }),
				fc.nat(9),
				(places, offset) => {
					const a = new Uint8Array(24 * 1700 + 16).subarray(
						offset,
						-16 + offset,
					);
					const b = Uint8Array.from(a);
					for (const { at, bit } of places) b[at] = (b[at] ?? 0) ^ (1 << bit);
					const ofB = elementsOf(dtype, b);
					const expected = elementsOf(dtype, a).filter((x, i) => x !== ofB[i]);
					expect(count(dtype, a, b).elements).toBe(expected.length);
				},
			),
			{ numRuns: 8 },
		);
	},
);

test("distances are those of bit patterns in their order, whatever the alignment", () => {
	for (const offset of [0, 1, 2]) {
		const place = (...patterns: number[]) => {
			const bytes = new Uint8Array(patterns.length * 2 + offset);
			bytes.set(new Uint8Array(Uint16Array.from(patterns).buffer), offset);
			return bytes.subarray(offset);
		};
		const a = place(0x3c00, 0x0000, 0x8001);
		const b = place(0x3c02, 0x8000, 0x0001);
		expect(count("BF16", a, b)).toEqual({ elements: 3, maxUlp: 3 });
		expect(count("I16", a, b)).toEqual({ elements: 3, maxUlp: 0 });
	}
});

test("an element of 6 bits counts once, wherever a run may end", () => {
	const a = new Uint8Array(3 * 2 ** 14);
	for (const end of [2 ** 12, 2 ** 13, 2 ** 14, 2 ** 15])
		for (let byte = end - 2; byte <= end; byte++) {
			const b = Uint8Array.from(a);
			// Three bytes hold four elements, of which the inner two lie in two bytes each.
			const first = byte % 3 === 0 ? 0b1100_0000 : 0b1111_0000;
			if (byte % 3 === 2) continue;
			b[byte] = first;
			b[byte + 1] = byte % 3 === 0 ? 0b0000_1111 : 0b0000_0011;
			expect(count("F6_E3M2", a, b).elements).toBe(1);
		}
});

test("two lengths are a mistake", () => {
	expect(() => count("F16", new Uint8Array(2), new Uint8Array(4))).toThrow(
		RangeError,
	);
});
