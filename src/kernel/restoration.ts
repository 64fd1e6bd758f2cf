import { elementByteLength, type FloatDtype } from "../tensor/dtype.ts";
import type { AddSpec, Kernel } from "./kernel.ts";

/** The sum that a merge will make of base and delta, and the type of what it should give back. */
export interface RestorationSpec extends AddSpec {
	target: FloatDtype;
}

/** What a delta does not restore. */
export interface Unrestored {
	/** how many the merge gives another bit pattern than the target has */
	elements: number;
	/** the farthest of them from the target, in units in the last place of the target's type; 0: none */
	maxUlp: number;
}

/** So many elements are merged at once: their results stay in the processor's second cache. */
const RUN = 2 ** 13;
const MAX_ELEMENT_BYTES = 8;
/** Half floats are compared two at a time. */
const WORD_BYTES = 4;

/** Room that `countUnrestored` works in, for one call after another. */
export interface RestorationScratch {
	merged: Uint8Array;
	target: Uint8Array;
	converted: Uint8Array;
	back: Uint8Array;
	/** of F16, all −0 */
	zeros: Uint8Array;
}

export function createRestorationScratch(): RestorationScratch {
	const room = () => new Uint8Array(RUN * MAX_ELEMENT_BYTES);
	return {
		...{ merged: room(), target: room(), converted: room(), back: room() },
		zeros: Uint8Array.from({ length: RUN * 2 }, (_, i) => (i % 2) * 0x80),
	};
}

/**
 * Merge a stretch of a delta and count what does not come back as it was. An element is restored where it
 * has the target's bits: −0 given back as +0 is not, nor is one NaN for another. Where the merge writes
 * another type, its result must be the target's number exactly, and is compared after it was rounded to the
 * target's type.
 *
 * The distance of two patterns is that of their places in the order −NaN … −0, +0 … +NaN, so that −0 and +0
 * are 1 apart, and the largest number and infinity are too. Distances of F64 beyond 2^53 are rounded. A
 * result that only the rounding made equal counts as 1 apart.
 *
 * @param base     elements of `spec.base`
 * @param delta    as many of `spec.delta`
 * @param target   as many of `spec.target`
 * @throws {RangeError} unless each array has exactly that length
 */
export function countUnrestored(
	spec: RestorationSpec,
	base: Uint8Array,
	delta: Uint8Array,
	target: Uint8Array,
	kernel: Kernel,
	scratch: RestorationScratch,
): Unrestored {
	const count = target.length / elementByteLength(spec.target);
	const run = (bytes: Uint8Array, dtype: FloatDtype, first: number) => {
		const width = elementByteLength(dtype);
		const end = Math.min(first + RUN, count);
		return bytes.subarray(first * width, end * width);
	};
	const total = { elements: 0, maxUlp: 0 };
	checkLength("base", base, spec.base, count);
	checkLength("delta", delta, spec.delta, count);
	for (let first = 0; first < count; first += RUN) {
		const length = Math.min(RUN, count - first) * elementByteLength(spec.out);
		const merged = scratch.merged.subarray(0, length);
		const a = run(base, spec.base, first);
		kernel.add(spec, a, run(delta, spec.delta, first), merged);
		const expected = align(run(target, spec.target, first), spec, scratch);
		if (spec.target === spec.out) compare(spec.target, merged, expected, total);
		else compareConverted(spec, merged, expected, kernel, scratch, total);
	}
	return total;
}

function checkLength(
	operand: string,
	bytes: Uint8Array,
	dtype: FloatDtype,
	count: number,
): void {
	const expected = count * elementByteLength(dtype);
	if (bytes.length !== expected)
		throw new RangeError(
			`${operand} holds ${bytes.length} bytes, expected ${expected} of ${dtype}`,
		);
}

/** The same bytes at an address that suits the comparison. */
function align(
	target: Uint8Array,
	{ target: dtype }: RestorationSpec,
	scratch: RestorationScratch,
): Uint8Array {
	const alignment = Math.max(elementByteLength(dtype), WORD_BYTES);
	if (target.byteOffset % alignment === 0) return target;
	const copy = scratch.target.subarray(0, target.length);
	copy.set(target);
	return copy;
}

function compareConverted(
	spec: RestorationSpec,
	merged: Uint8Array,
	expected: Uint8Array,
	kernel: Kernel,
	scratch: RestorationScratch,
	total: Unrestored,
): void {
	const { out, target } = spec;
	const count = merged.length / elementByteLength(out);
	const zeros = scratch.zeros.subarray(0, 2 * count);
	const found = scratch.converted.subarray(0, expected.length);
	const back = scratch.back.subarray(0, merged.length);
	kernel.add(conversion(out, target), merged, zeros, found);
	kernel.add(conversion(target, out), found, zeros, back);
	compare(target, found, expected, total);
	// Those that equal the target only because they were rounded to its type.
	const [f, e] = [patterns(target, found), patterns(target, expected)];
	const [m, b] = [patterns(out, merged), patterns(out, back)];
	for (let i = 0; i < count; i++) {
		if (m[i] === b[i] || f[i] !== e[i]) continue;
		total.elements++;
		total.maxUlp = Math.max(total.maxUlp, 1);
	}
}

/** The same numbers in another type: adding −0 changes none, not even the sign of a zero. */
function conversion(base: FloatDtype, out: FloatDtype): AddSpec {
	return { base, delta: "F16", cast: null, out, subtract: false };
}

type Patterns = Int16Array | Int32Array | BigInt64Array;

/** Patterns as signed integers. */
function patterns(dtype: FloatDtype, bytes: Uint8Array): Patterns {
	const { buffer, byteOffset, length } = bytes;
	if (dtype === "F64") return new BigInt64Array(buffer, byteOffset, length / 8);
	return dtype === "F32"
		? new Int32Array(buffer, byteOffset, length / 4)
		: new Int16Array(buffer, byteOffset, length / 2);
}

function compare(
	dtype: FloatDtype,
	foundBytes: Uint8Array,
	expectedBytes: Uint8Array,
	total: Unrestored,
): void {
	const found = patterns(dtype, foundBytes);
	const expected = patterns(dtype, expectedBytes);
	const { length } = found;
	if (found instanceof BigInt64Array)
		compareLong(found, expected as BigInt64Array, total);
	else if (found instanceof Int32Array)
		compareWords(found, expected as Int32Array, length, total);
	else compareHalves(found, expected as Int16Array, length, total);
}

// Negative patterns grow away from zero: with all other bits turned over they fall, in order, below it.

function compareWords(
	found: Int32Array,
	expected: Int32Array,
	count: number,
	total: Unrestored,
): void {
	for (let i = 0; i < count; i++) {
		const a = found[i] as number;
		const b = expected[i] as number;
		if (a === b) continue;
		total.elements++;
		const ulp = Math.abs(
			(a < 0 ? a ^ 0x7fffffff : a) - (b < 0 ? b ^ 0x7fffffff : b),
		);
		if (ulp > total.maxUlp) total.maxUlp = ulp;
	}
}

function compareHalves(
	found: Int16Array,
	expected: Int16Array,
	count: number,
	total: Unrestored,
): void {
	const words = count >> 1;
	const [twoFound, twoExpected] = [found, expected].map(
		({ buffer, byteOffset }) => new Int32Array(buffer, byteOffset, words),
	) as [Int32Array, Int32Array];
	for (let word = 0; word < words; word++) {
		if (twoFound[word] === twoExpected[word]) continue;
		compareHalf(found[2 * word], expected[2 * word], total);
		compareHalf(found[2 * word + 1], expected[2 * word + 1], total);
	}
	if (count % 2 === 1)
		compareHalf(found[count - 1], expected[count - 1], total);
}

function compareHalf(
	found: number | undefined,
	expected: number | undefined,
	total: Unrestored,
): void {
	const a = found as number;
	const b = expected as number;
	if (a === b) return;
	total.elements++;
	const ulp = Math.abs((a < 0 ? a ^ 0x7fff : a) - (b < 0 ? b ^ 0x7fff : b));
	if (ulp > total.maxUlp) total.maxUlp = ulp;
}

function compareLong(
	found: BigInt64Array,
	expected: BigInt64Array,
	total: Unrestored,
): void {
	const order = (bits: bigint) => (bits < 0n ? bits ^ (2n ** 63n - 1n) : bits);
	for (let i = 0; i < found.length; i++) {
		const [a, b] = [found[i] as bigint, expected[i] as bigint];
		if (a === b) continue;
		total.elements++;
		const ulp = Math.abs(Number(order(a) - order(b)));
		total.maxUlp = Math.max(total.maxUlp, ulp);
	}
}
