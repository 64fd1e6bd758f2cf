import { DTYPES, type Dtype, type FloatDtype } from "../tensor/dtype.ts";

/** Elements of two tensors that are not the same. */
export interface Differences {
	/** how many have another bit pattern */
	elements: number;
	/** the farthest two of them, in units in the last place of their type; 0: none, or no float type */
	maxUlp: number;
}

/** Bytes that are compared as one: what is equal is passed over at the speed of memory. */
const RUN_BYTES = 2 ** 14;
/** Arrays of every type may begin at such addresses. */
const ALIGNMENT_BYTES = 8;

/** Room that `countDifferences` works in, for one call after another. */
export interface DifferenceScratch {
	a: Uint8Array;
	b: Uint8Array;
}

export function createDifferenceScratch(): DifferenceScratch {
	return { a: new Uint8Array(RUN_BYTES), b: new Uint8Array(RUN_BYTES) };
}

/**
 * Count the elements in which two stretches of one type differ.
 *
 * @param a  whole elements; of the types that do not fill bytes, whole bytes of them
 * @param b  as many
 * @throws {RangeError} unless both have the same length
 */
export function countDifferences(
	dtype: Dtype,
	a: Uint8Array,
	b: Uint8Array,
	scratch: DifferenceScratch,
): Differences {
	if (a.length !== b.length)
		throw new RangeError(`${a.length} bytes beside ${b.length}`);
	const total = { elements: 0, maxUlp: 0 };
	// A multiple of 3 too, because the 6-bit types put 4 elements into 3 bytes.
	const runBytes = DTYPES[dtype].bits % 8 === 0 ? RUN_BYTES : 3 * 2 ** 12;
	for (let at = 0; at < a.length; at += runBytes) {
		const [x, y] = [a, b].map((bytes) => bytes.subarray(at, at + runBytes)) as [
			Uint8Array,
			Uint8Array,
		];
		if (Buffer.compare(x, y) === 0) continue;
		if (DTYPES[dtype].float)
			addDifferences(
				dtype as FloatDtype,
				aligned(x, scratch.a),
				aligned(y, scratch.b),
				total,
			);
		else total.elements += countUnlike(DTYPES[dtype].bits, x, y);
	}
	return total;
}

/** Elements of `bits` bits each, the first in the lowest bits, that are not the same. */
function countUnlike(bits: number, a: Uint8Array, b: Uint8Array): number {
	let count = 0;
	let last = -1;
	for (let at = 0; at < a.length; at++) {
		const unlike = (a[at] as number) ^ (b[at] as number);
		for (let bit = 0; unlike >> bit !== 0; bit++) {
			if (((unlike >> bit) & 1) === 0) continue;
			const element = Math.floor((at * 8 + bit) / bits);
			if (element !== last) count++;
			last = element;
		}
	}
	return count;
}

/** The same bytes at an address that suits every type: where they are, or in `room`. */
export function aligned(bytes: Uint8Array, room: Uint8Array): Uint8Array {
	if (bytes.byteOffset % ALIGNMENT_BYTES === 0) return bytes;
	const copy = room.subarray(0, bytes.length);
	copy.set(bytes);
	return copy;
}

type Patterns = Int16Array | Int32Array | BigInt64Array;

/** Bit patterns as signed integers. */
export function patternsOf(dtype: FloatDtype, bytes: Uint8Array): Patterns {
	const { buffer, byteOffset, length } = bytes;
	if (dtype === "F64") return new BigInt64Array(buffer, byteOffset, length / 8);
	return dtype === "F32"
		? new Int32Array(buffer, byteOffset, length / 4)
		: new Int16Array(buffer, byteOffset, length / 2);
}

/**
 * Count the elements that differ into `total`, and how far the farthest two are apart.
 *
 * The distance of two patterns is that of their places in the order −NaN … −0, +0 … +NaN, so that −0 and +0
 * are 1 apart, and the largest number and infinity are too. Distances of F64 beyond 2^53 are rounded.
 *
 * @param aBytes  aligned to 8 bytes
 * @param bBytes  as long, aligned too
 */
export function addDifferences(
	dtype: FloatDtype,
	aBytes: Uint8Array,
	bBytes: Uint8Array,
	total: Differences,
): void {
	const a = patternsOf(dtype, aBytes);
	const b = patternsOf(dtype, bBytes);
	if (a instanceof BigInt64Array) addLongs(a, b as BigInt64Array, total);
	else if (a instanceof Int32Array) addWords(a, b as Int32Array, total);
	else addHalves(a, b as Int16Array, total);
}

// Negative patterns grow away from zero: with all other bits turned over they fall, in order, below it.

function addWords(
	aWords: Int32Array,
	bWords: Int32Array,
	total: Differences,
): void {
	for (let i = 0; i < aWords.length; i++) {
		const a = aWords[i] as number;
		const b = bWords[i] as number;
		if (a === b) continue;
		total.elements++;
		const ulp = Math.abs(
			(a < 0 ? a ^ 0x7fffffff : a) - (b < 0 ? b ^ 0x7fffffff : b),
		);
		if (ulp > total.maxUlp) total.maxUlp = ulp;
	}
}

/** Half floats, two at a time. */
function addHalves(a: Int16Array, b: Int16Array, total: Differences): void {
	const count = a.length;
	const words = count >> 1;
	const [twoOfA, twoOfB] = [a, b].map(
		({ buffer, byteOffset }) => new Int32Array(buffer, byteOffset, words),
	) as [Int32Array, Int32Array];
	for (let word = 0; word < words; word++) {
		if (twoOfA[word] === twoOfB[word]) continue;
		addHalf(a[2 * word], b[2 * word], total);
		addHalf(a[2 * word + 1], b[2 * word + 1], total);
	}
	if (count % 2 === 1) addHalf(a[count - 1], b[count - 1], total);
}

function addHalf(
	ofA: number | undefined,
	ofB: number | undefined,
	total: Differences,
): void {
	const a = ofA as number;
	const b = ofB as number;
	if (a === b) return;
	total.elements++;
	const ulp = Math.abs((a < 0 ? a ^ 0x7fff : a) - (b < 0 ? b ^ 0x7fff : b));
	if (ulp > total.maxUlp) total.maxUlp = ulp;
}

function addLongs(
	aLongs: BigInt64Array,
	bLongs: BigInt64Array,
	total: Differences,
): void {
	const order = (bits: bigint) => (bits < 0n ? bits ^ (2n ** 63n - 1n) : bits);
	for (let i = 0; i < aLongs.length; i++) {
		const [a, b] = [aLongs[i] as bigint, bLongs[i] as bigint];
		if (a === b) continue;
		total.elements++;
		const ulp = Math.abs(Number(order(a) - order(b)));
		total.maxUlp = Math.max(total.maxUlp, ulp);
	}
}
