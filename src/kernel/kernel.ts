import { elementByteLength, type FloatDtype } from "../tensor/dtype.ts";

/**
 * What to compute for each element: cast each operand to `cast` (null: leave it), add exactly, and round
 * once to `out`, to nearest, ties to even. Casting is a rounding of its own, as in torch. With `subtract`
 * the sum is delta + (−base): the base's operand changes its sign first, and all else stays the same.
 */
export interface AddSpec {
	base: FloatDtype;
	delta: FloatDtype;
	cast: FloatDtype | null;
	out: FloatDtype;
	subtract: boolean;
}

/** What the sums were, for the report. */
export interface AddCounts {
	/** results that are NaN or infinite */
	nonFinite: number;
	/** of those, the ones whose operands were both finite: the merge made them */
	overflowed: number;
}

/** The kernels, the fastest first. */
export const KERNEL_NAMES = ["native", "wasm", "js"] as const;
export type KernelName = (typeof KERNEL_NAMES)[number];

/**
 * Take whole blocks of 64 bytes into a SHA-256, and the CRC-32 of the same bytes.
 *
 * @param state   eight words
 * @param before  as of `crc32`
 * @throws {RangeError} unless they are, and the blocks are whole
 */
export type Sha256Crc32 = (
	state: Uint32Array,
	blocks: Uint8Array,
	before: number,
) => number;

/**
 * Let the system's page cache be rid of a stretch of a file, of which only whole pages count; nothing where it has no
 * such call.
 *
 * @param fd  of any way the file is open
 * @throws {RangeError} where there is no such stretch
 */
export type DropPages = (
	fd: number,
	fileOffset: number,
	byteLength: number,
) => void;

/** One implementation of the arithmetic; every kernel gives the same bytes. */
export interface Kernel {
	readonly name: KernelName;
	/**
	 * Add `elementCount` elements, little-endian, at any alignment.
	 *
	 * @param base   elementCount elements of `spec.base`
	 * @param delta  elementCount elements of `spec.delta`
	 * @param out    elementCount elements of `spec.out`
	 * @throws {RangeError} unless each array has exactly that length
	 */
	add(
		spec: AddSpec,
		base: Uint8Array,
		delta: Uint8Array,
		out: Uint8Array,
	): AddCounts;
	/**
	 * The CRC-32 that zip archives use.
	 *
	 * @param before  that of the bytes before these; 0 where there are none
	 */
	crc32(bytes: Uint8Array, before: number): number;
	/** null where both take no less time together than Node's SHA-256 and `crc32` in turn */
	readonly sha256Crc32: Sha256Crc32 | null;
	/** null where only compiled code could ask for it */
	readonly dropPages: DropPages | null;
}

/** @throws {RangeError} unless the arrays hold the same number of whole elements */
export function checkLengths(
	spec: AddSpec,
	base: Uint8Array,
	delta: Uint8Array,
	out: Uint8Array,
): void {
	const count = Math.floor(out.length / elementByteLength(spec.out));
	checkLength("base", base, spec.base, count);
	checkLength("delta", delta, spec.delta, count);
	checkLength("out", out, spec.out, count);
}

/** @throws {RangeError} unless an operand holds so many elements */
export function checkLength(
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
