import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AddSpec } from "../../src/kernel/kernel.ts";
import { FLOAT_DTYPES, type FloatDtype } from "../../src/tensor/dtype.ts";
import { CANONICAL_NAN } from "../../src/tensor/float.ts";
import { KERNELS } from "./kernels.ts";

/** Fraction and exponent widths, from which the reference below knows everything about a type. */
const FIELDS: Record<
	FloatDtype,
	{ exponentBits: number; fractionBits: number }
> = {
	F16: { exponentBits: 5, fractionBits: 10 },
	BF16: { exponentBits: 8, fractionBits: 7 },
	F32: { exponentBits: 8, fractionBits: 23 },
	F64: { exponentBits: 11, fractionBits: 52 },
};

const SCALE = 1100n; // every finite value of every type is a whole number of 2^-1100

/** Pattern to an exact integer multiple of 2^-1100, or "nan", or ±Infinity. */
function decodeExact(dtype: FloatDtype, bits: bigint): bigint | number {
	const { exponentBits, fractionBits } = FIELDS[dtype];
	const fraction = bits & ((1n << BigInt(fractionBits)) - 1n);
	const exponent = Number(
		(bits >> BigInt(fractionBits)) & ((1n << BigInt(exponentBits)) - 1n),
	);
	const negative = bits >> BigInt(exponentBits + fractionBits) === 1n;
	if (exponent === (1 << exponentBits) - 1) {
		if (fraction) return Number.NaN;
		return negative ? -Infinity : Infinity;
	}
	const bias = (1 << (exponentBits - 1)) - 1;
	const significand =
		exponent === 0 ? fraction : fraction | (1n << BigInt(fractionBits));
	const shift = BigInt(Math.max(exponent, 1) - bias - fractionBits) + SCALE;
	return (negative ? -significand : significand) << shift;
}

/** Round an exact magnitude to a pattern by comparing it with two neighbours: slow, and obviously right. */
function encodeExact(
	dtype: FloatDtype,
	value: bigint,
	negativeZero: boolean,
): bigint {
	const { exponentBits, fractionBits } = FIELDS[dtype];
	const sign =
		(value < 0n || (value === 0n && negativeZero) ? 1n : 0n) <<
		BigInt(exponentBits + fractionBits);
	const magnitude = value < 0n ? -value : value;
	const infinity = ((1n << BigInt(exponentBits)) - 1n) << BigInt(fractionBits);
	let [low, high] = [0n, infinity]; // patterns grow with their values
	const exact = (bits: bigint) =>
		bits === infinity
			? // where the next finite value would stand if the exponent went on
				1n << (SCALE + (1n << BigInt(exponentBits - 1)))
			: (decodeExact(dtype, bits) as bigint);
	while (high - low > 1n) {
		const middle = (low + high) / 2n;
		if (exact(middle) <= magnitude) low = middle;
		else high = middle;
	}
	const [below, above] = [magnitude - exact(low), exact(high) - magnitude];
	return (
		sign | (below < above || (below === above && !(low & 1n)) ? low : high)
	);
}

const mask = (dtype: FloatDtype) => {
	const { exponentBits, fractionBits } = FIELDS[dtype];
	return (1n << BigInt(1 + exponentBits + fractionBits)) - 1n;
};
const isNegative = (dtype: FloatDtype, bits: bigint) =>
	bits > mask(dtype) >> 1n;

function addExact(spec: AddSpec, base: bigint, delta: bigint): bigint {
	const cast = (dtype: FloatDtype, bits: bigint): [FloatDtype, bigint] => {
		if (spec.cast === null) return [dtype, bits];
		return [
			spec.cast,
			roundTo(spec.cast, decodeExact(dtype, bits), isNegative(dtype, bits)),
		];
	};
	const [baseType, a] = cast(spec.base, base);
	const [deltaType, b] = cast(spec.delta, delta);
	const [unsigned, y] = [decodeExact(baseType, a), decodeExact(deltaType, b)];
	const x = spec.subtract ? -unsigned : unsigned;
	const negativeZero =
		isNegative(baseType, a) !== spec.subtract && isNegative(deltaType, b);
	const sum =
		typeof x === "bigint" && typeof y === "bigint"
			? x + y
			: toNumber(x) + toNumber(y);
	return roundTo(spec.out, sum, negativeZero);
}

const toNumber = (value: bigint | number) =>
	typeof value === "bigint" ? 0 : value;

function roundTo(
	dtype: FloatDtype,
	value: bigint | number,
	negativeZero: boolean,
): bigint {
	if (typeof value === "bigint") return encodeExact(dtype, value, negativeZero);
	if (Number.isNaN(value)) return BigInt(CANONICAL_NAN[dtype]);
	const { exponentBits, fractionBits } = FIELDS[dtype];
	const infinity = ((1n << BigInt(exponentBits)) - 1n) << BigInt(fractionBits);
	return value > 0
		? infinity
		: infinity | (1n << BigInt(exponentBits + fractionBits));
}

function pack(dtype: FloatDtype, patterns: readonly bigint[]): Uint8Array {
	const width =
		Number(FIELDS[dtype].exponentBits + FIELDS[dtype].fractionBits + 1) / 8;
	const bytes = Buffer.alloc(patterns.length * width);
	patterns.forEach((pattern, i) => {
		for (let k = 0; k < width; k++)
			bytes[i * width + k] = Number((pattern >> BigInt(8 * k)) & 0xffn);
	});
	return bytes;
}

/** Patterns where rounding is hardest: around every power of two, the subnormals, the largest, Inf, NaN. */
function edges(dtype: FloatDtype): bigint[] {
	const { exponentBits, fractionBits } = FIELDS[dtype];
	const exponents = 2 ** exponentBits;
	const chosen = [
		0,
		1,
		2,
		exponents / 2 - 12,
		exponents / 2 - 1,
		exponents / 2,
		exponents - 2,
		exponents - 1,
	];
	const top = (1n << BigInt(fractionBits)) - 1n;
	const fractions = [0n, 1n, 2n, top / 2n, top / 2n + 1n, top - 1n, top];
	return [0n, 1n].flatMap((sign) =>
		chosen.flatMap((exponent) =>
			fractions.map(
				(fraction) =>
					(sign << BigInt(exponentBits + fractionBits)) |
					(BigInt(exponent) << BigInt(fractionBits)) |
					fraction,
			),
		),
	);
}

const specs = FLOAT_DTYPES.flatMap((base) =>
	FLOAT_DTYPES.flatMap((delta) =>
		FLOAT_DTYPES.flatMap((out) =>
			[null, ...FLOAT_DTYPES].flatMap((cast) =>
				[false, true].map(
					(subtract): AddSpec => ({ base, delta, cast, out, subtract }),
				),
			),
		),
	),
);

describe.each(KERNELS)("$title kernel", ({ kernel }) => {
	test("cases 130, 131: all dtype mixes and casts, edges and random patterns, against exact arithmetic", () => {
		for (const spec of specs) {
			const operand = (dtype: FloatDtype) =>
				fc.oneof(
					fc.constantFrom(...edges(dtype)),
					fc.bigInt({ min: 0n, max: mask(dtype) }),
				);
			fc.assert(
				fc.property(operand(spec.base), operand(spec.delta), (base, delta) => {
					const out = Buffer.alloc(pack(spec.out, [0n]).length);
					kernel.add(
						spec,
						pack(spec.base, [base]),
						pack(spec.delta, [delta]),
						out,
					);
					expect(out).toEqual(pack(spec.out, [addExact(spec, base, delta)]));
				}),
				{ numRuns: 40 },
			);
		}
	}, 60_000);

	test("case 131: an F32 sum just beyond a tie of F16 rounds once, not twice", () => {
		const out = Buffer.alloc(2);
		const base = Buffer.alloc(4);
		base.writeFloatLE(1 + 2 ** -11);
		const delta = Buffer.alloc(4);
		delta.writeFloatLE(2 ** -80);
		kernel.add(
			{ base: "F32", delta: "F32", cast: null, out: "F16", subtract: false },
			base,
			delta,
			out,
		);
		expect(out.readUInt16LE()).toBe(0x3c01);
	});

	test("case 128: counts non-finite results, and those the sum made", () => {
		const base = pack("F16", [0x7bffn, 0x7c00n, 0x7e00n, 0x3c00n]);
		const delta = pack("F16", [0x7bffn, 0x3c00n, 0x0000n, 0x3c00n]);
		const same = { base: "F16", delta: "F16", cast: null, out: "F16" } as const;
		const spec: AddSpec = { ...same, subtract: false };
		expect(kernel.add(spec, base, delta, Buffer.alloc(8))).toEqual({
			nonFinite: 3,
			overflowed: 1,
		});
		expect(
			kernel.add({ ...spec, subtract: true }, base, delta, Buffer.alloc(8)),
		).toEqual({ nonFinite: 2, overflowed: 0 });
		base.set(pack("F16", [0xfbffn]));
		expect(
			kernel.add({ ...spec, subtract: true }, base, delta, Buffer.alloc(8)),
		).toEqual({ nonFinite: 3, overflowed: 1 });
	});

	test("refuses operands of unequal length", () => {
		const mixed = {
			base: "F16",
			delta: "F32",
			cast: null,
			out: "F16",
		} as const;
		const spec: AddSpec = { ...mixed, subtract: false };
		expect(() =>
			kernel.add(spec, Buffer.alloc(4), Buffer.alloc(4), Buffer.alloc(4)),
		).toThrow(RangeError);
	});
});
