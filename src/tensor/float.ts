/**
 * Scalars of the float types, bit patterns to values and back. Every value of F16, BF16 and F32 is a
 * double exactly, so decoding never rounds; encoding rounds once, to nearest, ties to even.
 */
const scratch = new DataView(new ArrayBuffer(8));

/** The NaN each type is written with, whatever NaN the arithmetic gave. */
export const CANONICAL_NAN = {
	F16: 0x7e00,
	BF16: 0x7fc0,
	F32: 0x7fc00000,
	F64: 0x7ff8000000000000n,
} as const;

/** Value of the last place of a binary16 by its exponent field: a power is dear, and this is called often. */
const F16_UNITS = Float64Array.from(
	{ length: 31 },
	(_, exponent) => 2 ** (Math.max(exponent, 1) - 25),
);

/** Value of an IEEE binary16 bit pattern. */
export function decodeF16(bits: number): number {
	const sign = bits & 0x8000 ? -1 : 1;
	const exponent = (bits >>> 10) & 0x1f;
	const fraction = bits & 0x3ff;
	if (exponent === 0x1f) return fraction ? Number.NaN : sign * Infinity;
	const significand = exponent === 0 ? fraction : 0x400 + fraction;
	return sign * significand * (F16_UNITS[exponent] as number);
}

/** Value of a bfloat16 bit pattern: the upper half of a binary32. */
export function decodeBF16(bits: number): number {
	scratch.setUint32(0, (bits << 16) >>> 0);
	return scratch.getFloat32(0);
}

/** Nearest binary16 pattern of a double, ties to even; NaN is canonical. */
export function encodeF16(value: number): number {
	return encodeNarrow(value, 5, 10, CANONICAL_NAN.F16);
}

/** Nearest bfloat16 pattern of a double, ties to even; NaN is canonical. */
export function encodeBF16(value: number): number {
	return encodeNarrow(value, 8, 7, CANONICAL_NAN.BF16);
}

/**
 * Round a double once to a 16-bit float of the given field widths.
 * The 53-bit significand is folded to 22 bits, the lowest of which says whether any bit below was set,
 * so that integer arithmetic decides ties correctly.
 */
function encodeNarrow(
	value: number,
	exponentBits: number,
	fractionBits: number,
	nan: number,
): number {
	if (Number.isNaN(value)) return nan;
	scratch.setFloat64(0, value);
	const high = scratch.getUint32(0);
	const sign = (high >>> 16) & 0x8000;
	const infinity = ((1 << exponentBits) - 1) << fractionBits;
	const exponent = (high >>> 20) & 0x7ff;
	if (exponent === 0x7ff) return sign | infinity;
	if (exponent === 0) return sign; // far below the smallest subnormal
	const sticky = scratch.getUint32(4) !== 0 ? 1 : 0;
	const significand = ((0x100000 | (high & 0xfffff)) << 1) | sticky;
	const bias = (1 << (exponentBits - 1)) - 1;
	const biased = exponent - 1023 + bias;
	// A subnormal result loses one more bit for each step below the smallest normal exponent.
	const dropped = 21 - fractionBits + Math.max(0, 1 - biased);
	if (dropped > 23) return sign;
	const half = 1 << (dropped - 1);
	const kept = significand >>> dropped;
	const rest = significand & ((1 << dropped) - 1);
	const roundUp = rest > half || (rest === half && (kept & 1) === 1);
	// The hidden bit and a carry out of the fraction both land in the exponent field.
	const magnitude =
		(biased > 1 ? (biased - 1) << fractionBits : 0) + kept + (roundUp ? 1 : 0);
	return sign | Math.min(magnitude, infinity);
}

/**
 * Sum of two doubles rounded to odd: the exact sum if it is a double, else the one of its two
 * neighbours whose last bit is set. Rounding that again to any type of at most 51 bits gives the
 * correct rounding of the exact sum (Boldo & Melquiond 2008), which rounding twice to nearest does not.
 */
export function addRoundedToOdd(a: number, b: number): number {
	const sum = a + b;
	const bRounded = sum - a;
	const error = a - (sum - bRounded) + (b - bRounded); // Knuth's TwoSum: a + b = sum + error
	if (error === 0 || !Number.isFinite(error)) return sum;
	scratch.setFloat64(0, sum);
	const bits = scratch.getBigUint64(0);
	if (bits & 1n) return sum;
	scratch.setBigUint64(0, error > 0 === sum > 0 ? bits + 1n : bits - 1n);
	return scratch.getFloat64(0);
}
