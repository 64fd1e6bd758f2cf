import { describe, expect, test } from "vitest";
import { jsKernel } from "../../src/kernel/js.ts";
import { CANONICAL_NAN } from "../../src/tensor/float.ts";

const FIELDS = {
	F16: { bias: 15, fractionBits: 10 },
	BF16: { bias: 127, fractionBits: 7 },
} as const;
type Half = keyof typeof FIELDS;

/** Values of all patterns without sign, rising; infinity stands where the next finite value would. */
function magnitudes(dtype: Half): Float64Array {
	const { bias, fractionBits } = FIELDS[dtype];
	const hidden = 2 ** fractionBits;
	const infinity = (2 * bias + 1) * hidden;
	return Float64Array.from({ length: infinity + 1 }, (_, pattern) => {
		const [exponent, fraction] = [
			Math.floor(pattern / hidden),
			pattern % hidden,
		];
		const significand = exponent === 0 ? fraction : hidden + fraction;
		return significand * 2 ** (Math.max(exponent, 1) - bias - fractionBits);
	});
}

/**
 * Sum of two patterns by search among all values: the exact sum is `sum + error`, and what decides is on
 * which side of the middle between two neighbours it lies.
 */
function adder(dtype: Half): (a: number, b: number) => number {
	const values = magnitudes(dtype);
	const infinity = values.length - 1;
	const decode = (pattern: number) => {
		const magnitude = pattern & 0x7fff;
		if (magnitude > infinity) return Number.NaN;
		const value =
			magnitude === infinity ? Infinity : (values[magnitude] as number);
		return pattern & 0x8000 ? -value : value;
	};
	const byPattern = Float64Array.from({ length: 65536 }, (_, p) => decode(p));
	return (a, b) => {
		const [x, y] = [byPattern[a] as number, byPattern[b] as number];
		const sum = x + y;
		if (Number.isNaN(sum)) return CANONICAL_NAN[dtype];
		const sign = sum < 0 || Object.is(sum, -0) ? 0x8000 : 0;
		if (!Number.isFinite(sum)) return sign | infinity;
		const [big, small] = Math.abs(x) >= Math.abs(y) ? [x, y] : [y, x];
		const error = small - (sum - big);
		const [magnitude, rest] = sign ? [-sum, -error] : [sum, error];
		let [low, high] = [0, infinity];
		while (high - low > 1) {
			const middle = (low + high) >>> 1;
			const apart = magnitude - (values[middle] as number) || rest;
			if (apart >= 0) low = middle;
			else high = middle;
		}
		const middle = ((values[low] as number) + (values[high] as number)) / 2;
		const apart = magnitude - middle || rest;
		const up = apart > 0 || (apart === 0 && low % 2 === 1);
		return sign | (up ? high : low);
	};
}

/** Zeros, subnormals, powers of two with their neighbours, the largest, infinities, NaNs; both signs. */
function edges(dtype: Half): number[] {
	const { bias, fractionBits } = FIELDS[dtype];
	const exponents = [
		...[0, 1, 2, bias - 12, bias - 1, bias, bias + 1],
		...[2 * bias - fractionBits - 1, 2 * bias, 2 * bias + 1],
	];
	const top = 2 ** fractionBits - 1;
	return exponents.flatMap((exponent) =>
		[0, 1, top >> 1, (top >> 1) + 1, top].flatMap((fraction) => {
			const pattern = (exponent << fractionBits) | fraction;
			return [pattern, pattern | 0x8000];
		}),
	);
}

const ALL = Uint16Array.from({ length: 65536 }, (_, pattern) => pattern);
const bytesOf = (patterns: Uint16Array) => new Uint8Array(patterns.buffer);

describe.each(["F16", "BF16"] as const)("%s", (dtype) => {
	test.each([
		["plus", false],
		["less", true],
	])(
		"cases 130, 131: every pattern %s every edge is rounded once, in either order",
		(_, subtract) => {
			const add = adder(dtype);
			const spec = {
				base: dtype,
				delta: dtype,
				cast: null,
				out: dtype,
				subtract,
			};
			const sign = subtract ? 0x8000 : 0;
			const [sums, swapped] = [new Uint16Array(65536), new Uint16Array(65536)];
			const wrong: string[] = [];
			const { bias, fractionBits } = FIELDS[dtype];
			const infinity = (2 * bias + 1) << fractionBits;
			const hasFiniteValue = (pattern: number) => (pattern & 0x7fff) < infinity;
			for (const edge of edges(dtype)) {
				const other = new Uint16Array(65536).fill(edge);
				const counts = jsKernel.add(
					spec,
					bytesOf(ALL),
					bytesOf(other),
					bytesOf(sums),
				);
				const counted = { nonFinite: 0, overflowed: 0 };
				jsKernel.add(spec, bytesOf(other), bytesOf(ALL), bytesOf(swapped));
				for (let pattern = 0; pattern < 65536; pattern++) {
					const expected = add(pattern ^ sign, edge);
					if (
						sums[pattern] !== expected ||
						swapped[pattern] !== add(pattern, edge ^ sign)
					)
						wrong.push(`${pattern.toString(16)} and ${edge.toString(16)}`);
					if (hasFiniteValue(expected)) continue;
					counted.nonFinite++;
					if (hasFiniteValue(pattern) && hasFiniteValue(edge))
						counted.overflowed++;
				}
				expect(counts).toEqual(counted);
			}
			expect(wrong.slice(0, 10)).toEqual([]);
		},
		120_000,
	);
});
