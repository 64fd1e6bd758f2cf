// biome-ignore-all lint: its language only looks like TypeScript
// AssemblyScript, not TypeScript: compiled by `npm run build:wasm`. All values stay in registers, because
// several threads run this on one shared memory in which there is no room of their own.
// Rounding is to nearest, ties to even; NaNs are written as one pattern per type.

const F16: i32 = 0;
const BF16: i32 = 1;
const F32: i32 = 2;
const NO_CAST: i32 = -1;
/** The signs of two half floats; the upper one is that of a binary32. */
const SIGNS: i32 = 0x80008000;

/** So many elements are looked at again where one of their sums may not be finite. */
const RUN: i32 = 2048;

let nonFinite: i32 = 0;
let overflowed: i32 = 0;
export function nonFiniteCount(): i32 {
	return nonFinite;
}
export function overflowedCount(): i32 {
	return overflowed;
}

// Four elements at a time, as binary32 in the lanes of a vector.

/** Finite binary16, sign-extended into four lanes, as binary32; infinities and NaNs become large numbers. */
function expandF16(halves: v128): v128 {
	const shifted = v128.and(i32x4.shl(halves, 13), i32x4.splat(0x0fffe000));
	const normal = i32x4.add(shifted, i32x4.splat(0x38000000));
	// With exponent 0 that is 2^-15 + x / 2. Twice it less 2^-14 is x there, and more than x everywhere else.
	const subnormal = f32x4.sub(
		f32x4.add(normal, normal),
		f32x4.splat(0.00006103515625),
	);
	const sign = v128.and(halves, i32x4.splat(0x80000000));
	return v128.or(f32x4.pmin(normal, subnormal), sign);
}

/** Numbers below 2^17 rounded to binary16; those from 65520 on become patterns beyond its largest number. */
function narrowF16(value: v128): v128 {
	const magnitude = v128.and(value, i32x4.splat(0x7fffffff));
	const even = v128.and(i32x4.shr_u(magnitude, 13), i32x4.splat(1));
	const normal = i32x4.shr_u(
		i32x4.add(i32x4.add(magnitude, i32x4.splat(0xfff - 0x38000000)), even),
		13,
	);
	const subnormal = i32x4.sub(
		f32x4.add(magnitude, f32x4.splat(0.5)),
		i32x4.splat(0x3f000000),
	);
	const half = v128.bitselect(
		subnormal,
		normal,
		i32x4.lt_s(magnitude, i32x4.splat(0x38800000)),
	);
	const sign = v128.and(i32x4.shr_u(value, 16), i32x4.splat(0x8000));
	return v128.or(half, sign);
}

function decodeF16(halves: v128): v128 {
	// sign-extended, as above
	const special = i32x4.gt_s(
		v128.and(halves, i32x4.splat(0x7fff)),
		i32x4.splat(0x7bff),
	);
	const exponent = v128.and(special, i32x4.splat(0x38000000));
	return i32x4.add(expandF16(halves), exponent);
}

function encodeF16(value: v128): v128 {
	const magnitude = v128.and(value, i32x4.splat(0x7fffffff));
	const sign = v128.and(i32x4.shr_u(value, 16), i32x4.splat(0x8000));
	const half = v128.bitselect(
		v128.or(i32x4.splat(0x7c00), sign),
		narrowF16(value),
		i32x4.ge_s(magnitude, i32x4.splat(0x477ff000)),
	);
	const nan = i32x4.gt_s(magnitude, i32x4.splat(0x7f800000));
	return v128.bitselect(i32x4.splat(0x7e00), half, nan);
}

function roundBF16(value: v128): v128 {
	// in the high parts of the lanes
	const odd = v128.and(i32x4.shr_u(value, 16), i32x4.splat(1));
	const rounded = i32x4.add(value, i32x4.add(odd, i32x4.splat(0x7fff)));
	return v128.bitselect(
		rounded,
		i32x4.splat(0x7fc00000),
		f32x4.eq(value, value),
	);
}

function canonicalF32(value: v128): v128 {
	return v128.bitselect(value, i32x4.splat(0x7fc00000), f32x4.eq(value, value));
}

/**
 * The sum rounded to odd: so that rounding it once more to a narrower type gives what one rounding of the
 * exact sum would (Boldo and Melquiond 2008). The error is Knuth's TwoSum, which is exact.
 */
function addToOdd(a: v128, b: v128): v128 {
	const sum = f32x4.add(a, b);
	const bPart = f32x4.sub(sum, a);
	const error = f32x4.add(
		f32x4.sub(a, f32x4.sub(sum, bPart)),
		f32x4.sub(b, bPart),
	);
	const zero = i32x4.splat(0);
	const inexact = v128.or(f32x4.gt(error, zero), f32x4.lt(error, zero)); // false for NaN: sums beyond the range
	const even = i32x4.eq(v128.and(sum, i32x4.splat(1)), zero);
	const isFinite = i32x4.lt_s(
		v128.and(sum, i32x4.splat(0x7fffffff)),
		i32x4.splat(0x7f800000),
	);
	const move = v128.and(v128.and(inexact, even), isFinite);
	// Away from zero where error and sum have one sign, else towards it.
	const opposite = i32x4.shr_s(v128.xor(error, sum), 31);
	const step = v128.or(opposite, i32x4.splat(1));
	return i32x4.add(sum, v128.and(step, move));
}

function load4(dtype: i32, at: usize): v128 {
	if (dtype == F16) return decodeF16(v128.load_ext<i16>(at));
	if (dtype == BF16) return i32x4.shl(v128.load_ext<u16>(at), 16);
	return v128.load(at);
}

function signExtend(halves: v128): v128 {
	return i32x4.shr_s(i32x4.shl(halves, 16), 16);
}

function cast4(cast: i32, value: v128): v128 {
	if (cast == F16) return decodeF16(signExtend(encodeF16(value)));
	if (cast == BF16) return v128.and(roundBF16(value), i32x4.splat(0xffff0000));
	return value;
}

function sum4(odd: bool, base: v128, delta: v128): v128 {
	return odd ? addToOdd(base, delta) : f32x4.add(base, delta);
}

/** Four sums, as the out type has them: halves in the low parts of the lanes. */
function encode4(out: i32, value: v128): v128 {
	if (out == F16) return encodeF16(value);
	if (out == BF16) return i32x4.shr_u(roundBF16(value), 16);
	return canonicalF32(value);
}

function widthOf(dtype: i32): i32 {
	return dtype == F32 ? 4 : 2;
}

function mayBeInfinite(out: i32, results: v128): v128 {
	// four results in lanes of 32 bits
	const exponent = i32x4.splat(exponentOf(out));
	return i32x4.eq(v128.and(results, exponent), exponent);
}

function exponentOf(dtype: i32): i32 {
	return dtype == F16 ? 0x7c00 : dtype == BF16 ? 0x7f80 : 0x7f800000;
}

/** Any pair of types, four elements at a time. @returns whether a result may not be finite */
function addMixed(
	base: usize,
	baseType: i32,
	delta: usize,
	deltaType: i32,
	cast: i32,
	out: usize,
	outType: i32,
	sign: i32,
	count: i32,
): bool {
	const flip = i32x4.splat(sign & 0x80000000);
	const baseWidth = widthOf(baseType),
		deltaWidth = widthOf(deltaType),
		outWidth = widthOf(outType);
	// Binary32 has twice the places of a half float and two more, so that rounding the sum of two of one
	// type twice is rounding it once (Figueroa 1995); other sums must not be rounded to nearest twice.
	const a = cast == NO_CAST ? baseType : cast,
		b = cast == NO_CAST ? deltaType : cast;
	const odd = outType != F32 && !(a == outType && b == outType);
	let seen = i32x4.splat(0);
	let i = 0;
	for (; i + 4 <= count; i += 4) {
		const x = v128.xor(
			cast4(cast, load4(baseType, base + i * baseWidth)),
			flip,
		);
		const y = cast4(cast, load4(deltaType, delta + i * deltaWidth));
		const sum = encode4(outType, sum4(odd, x, y));
		seen = v128.or(seen, mayBeInfinite(outType, sum));
		if (outType == F32) v128.store(out + i * 4, sum);
		else v128.store_lane<u64>(out + i * 2, i16x8.narrow_i32x4_u(sum, sum), 0);
	}
	for (; i < count; i++) {
		const x = v128.xor(
			cast4(cast, load1(baseType, base + i * baseWidth)),
			flip,
		);
		const y = cast4(cast, load1(deltaType, delta + i * deltaWidth));
		const sum = encode4(outType, sum4(odd, x, y));
		seen = v128.or(seen, mayBeInfinite(outType, sum));
		if (outWidth == 4) v128.store_lane<u32>(out + i * 4, sum, 0);
		else v128.store_lane<u16>(out + i * 2, sum, 0);
	}
	return v128.any_true(seen);
}

/** One element in all four lanes: for what is left behind the last four. */
function load1(dtype: i32, at: usize): v128 {
	if (dtype == F32) return i32x4.splat(load<i32>(at));
	const half = i32x4.splat(load<i16>(at));
	return dtype == F16 ? decodeF16(half) : i32x4.shl(half, 16);
}

// Both operands and the result of one type: the common cases, without a choice in the loop. `count` is a
// multiple of eight. The bits of `sign` are turned over in the base's operand.

/** As if all were finite, and once more with care where an operand or a result is not. */
function addF16(
	base: usize,
	delta: usize,
	out: usize,
	sign: i32,
	count: i32,
): bool {
	const flip = i32x4.splat(sign & 0x80000000),
		magnitude = i16x8.splat(0x7fff),
		bytes = <usize>count * 2;
	let largest = i16x8.splat(0);
	for (let at: usize = 0; at < bytes; at += 16) {
		const low = narrowF16(
			f32x4.add(
				v128.xor(expandF16(v128.load_ext<i16>(base + at)), flip),
				expandF16(v128.load_ext<i16>(delta + at)),
			),
		);
		const high = narrowF16(
			f32x4.add(
				v128.xor(expandF16(v128.load_ext<i16>(base + at, 8)), flip),
				expandF16(v128.load_ext<i16>(delta + at, 8)),
			),
		);
		const sum = i16x8.narrow_i32x4_u(low, high);
		largest = i16x8.max_u(largest, v128.and(v128.load(base + at), magnitude));
		largest = i16x8.max_u(largest, v128.and(v128.load(delta + at), magnitude));
		largest = i16x8.max_u(largest, v128.and(sum, magnitude));
		v128.store(out + at, sum);
	}
	if (!v128.any_true(i16x8.ge_u(largest, i16x8.splat(0x7c00)))) return false;
	addMixed(base, F16, delta, F16, NO_CAST, out, F16, sign, count);
	return true;
}

function addBF16(
	base: usize,
	delta: usize,
	out: usize,
	sign: i32,
	count: i32,
): bool {
	const flip = i32x4.splat(sign),
		upper = i32x4.splat(0xffff0000),
		exponent = i16x8.splat(0x7f80);
	let seen = i32x4.splat(0);
	for (
		let end = out + count * 2;
		out < end;
		out += 16, base += 16, delta += 16
	) {
		const x = v128.xor(v128.load(base), flip),
			y = v128.load(delta);
		// Even and odd elements apart: the high parts of the lanes are in their places already.
		const odd = roundBF16(f32x4.add(v128.and(x, upper), v128.and(y, upper)));
		const even = roundBF16(f32x4.add(i32x4.shl(x, 16), i32x4.shl(y, 16)));
		const sum = v128.or(v128.and(odd, upper), i32x4.shr_u(even, 16));
		seen = v128.or(seen, i16x8.eq(v128.and(sum, exponent), exponent));
		v128.store(out, sum);
	}
	return v128.any_true(seen);
}

function addF32(
	base: usize,
	delta: usize,
	out: usize,
	sign: i32,
	count: i32,
): bool {
	const flip = i32x4.splat(sign & 0x80000000),
		exponent = i32x4.splat(0x7f800000);
	let seen = i32x4.splat(0);
	for (
		let end = out + count * 4;
		out < end;
		out += 16, base += 16, delta += 16
	) {
		const x = v128.xor(v128.load(base), flip);
		const sum = canonicalF32(f32x4.add(x, v128.load(delta)));
		seen = v128.or(seen, i32x4.eq(v128.and(sum, exponent), exponent));
		v128.store(out, sum);
	}
	return v128.any_true(seen);
}

function addSame(
	base: usize,
	delta: usize,
	out: usize,
	dtype: i32,
	sign: i32,
	count: i32,
): bool {
	if (dtype == F16) return addF16(base, delta, out, sign, count);
	if (dtype == BF16) return addBF16(base, delta, out, sign, count);
	return addF32(base, delta, out, sign, count);
}

function isFinite(dtype: i32, at: usize): bool {
	const bits = dtype == F32 ? load<i32>(at) : <i32>load<u16>(at);
	const exponent = exponentOf(dtype);
	return (bits & exponent) != exponent;
}

function countRun(
	base: usize,
	baseType: i32,
	delta: usize,
	deltaType: i32,
	out: usize,
	outType: i32,
	count: i32,
): void {
	for (let i = 0; i < count; i++) {
		if (isFinite(outType, out + i * widthOf(outType))) continue;
		nonFinite++;
		if (
			isFinite(baseType, base + i * widthOf(baseType)) &&
			isFinite(deltaType, delta + i * widthOf(deltaType))
		)
			overflowed++;
	}
}

/**
 * Add `count` elements at any addresses, or take the base's from the delta's; the counts can be asked for
 * afterwards.
 */
export function add(
	base: usize,
	baseType: i32,
	delta: usize,
	deltaType: i32,
	cast: i32,
	out: usize,
	outType: i32,
	count: i32,
	subtract: bool,
): void {
	const sign = subtract ? SIGNS : 0;
	nonFinite = 0;
	overflowed = 0;
	const same =
		baseType == outType &&
		deltaType == outType &&
		(cast == NO_CAST || cast == outType);
	for (let first = 0; first < count; first += RUN) {
		const length = min(RUN, count - first);
		const x = base + first * widthOf(baseType),
			y = delta + first * widthOf(deltaType),
			z = out + first * widthOf(outType);
		const whole = same ? length & ~7 : 0;
		let suspicious = same && addSame(x, y, z, outType, sign, whole);
		const skip = whole * widthOf(outType);
		if (whole < length)
			suspicious =
				addMixed(
					x + skip,
					baseType,
					y + skip,
					deltaType,
					cast,
					z + skip,
					outType,
					sign,
					length - whole,
				) || suspicious;
		if (suspicious) countRun(x, baseType, y, deltaType, z, outType, length);
	}
}
