import { elementByteLength, type FloatDtype } from "../tensor/dtype.ts";
import {
	addDifferences,
	aligned,
	type Differences,
	patternsOf,
} from "./differences.ts";
import { type AddSpec, checkLength, type Kernel } from "./kernel.ts";

/** The sum that a merge will make of base and delta, and the type of what it should give back. */
export interface RestorationSpec extends AddSpec {
	target: FloatDtype;
}

/** What a delta does not restore: where the merge gives another bit pattern than the target has. */
export type Unrestored = Differences;

/** So many elements are merged at once: their results stay in the processor's second cache. */
const RUN = 2 ** 13;
const MAX_ELEMENT_BYTES = 8;

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
 * Distances are those of `addDifferences`. A result that only the rounding made equal counts as 1 apart.
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
		const expected = aligned(run(target, spec.target, first), scratch.target);
		if (spec.target === spec.out)
			addDifferences(spec.target, merged, expected, total);
		else compareConverted(spec, merged, expected, kernel, scratch, total);
	}
	return total;
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
	addDifferences(target, found, expected, total);
	// Those that equal the target only because they were rounded to its type.
	const [f, e] = [patternsOf(target, found), patternsOf(target, expected)];
	const [m, b] = [patternsOf(out, merged), patternsOf(out, back)];
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
