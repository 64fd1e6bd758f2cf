import type { FloatDtype } from "../tensor/dtype.ts";
import {
	decodeBF16,
	decodeF16,
	encodeBF16,
	encodeF16,
} from "../tensor/float.ts";

/** What kind of tensor was looked at: a matrix of weights, or the scale of a layer norm. */
export type SampleKind = "matrix" | "norm";

/** One side of a sample. */
export interface Moments {
	mean: number;
	/** root of the mean square */
	rms: number;
	/** share of the elements that are above zero */
	positive: number;
}

/** What a few thousand elements of one tensor say about base and delta. */
export interface TensorSample {
	name: string;
	kind: SampleKind;
	/** elements that are finite on both sides; all figures are of these */
	count: number;
	base: Moments;
	delta: Moments;
	/** of the uncentred values, from −1 to 1; 0 where one side is all zero */
	correlation: number;
	/** whether every element is the same on both sides */
	identical: boolean;
	/** elements whose delta is not zero and less than a quarter of the base */
	small: number;
	/** those of the `small` whose sum is no number of the delta's type; null where the types forbid to ask */
	inexact: number | null;
}

/**
 * Condense the elements of one tensor, the same ones of both sides.
 *
 * @param base   decoded, as many as `delta`
 * @returns null where no two elements are finite
 */
export function condense(
	tensor: { name: string; kind: SampleKind },
	base: { dtype: FloatDtype; values: Float64Array },
	delta: { dtype: FloatDtype; values: Float64Array },
): TensorSample | null {
	const isExact = exactnessIn(base.dtype, delta.dtype);
	const sums = { base: emptySums(), delta: emptySums() };
	let [count, product, different, small, inexact] = [0, 0, 0, 0, 0];
	const { length } = base.values;
	// An iterator would make garbage for each of many thousand elements.
	for (let i = 0; i < length; i++) {
		const b = base.values[i] as number;
		const d = delta.values[i] as number;
		if (!Number.isFinite(b) || !Number.isFinite(d)) continue;
		count++;
		add(sums.base, b);
		add(sums.delta, d);
		product += b * d;
		if (b !== d) different++;
		if (d === 0 || Math.abs(d) >= Math.abs(b) / 4) continue;
		small++;
		if (isExact !== null && !isExact(b, d)) inexact++;
	}
	if (count === 0) return null;
	const moments = {
		base: momentsOf(sums.base, count),
		delta: momentsOf(sums.delta, count),
	};
	const scale = moments.base.rms * moments.delta.rms;
	return {
		...tensor,
		...{ count, ...moments, small },
		correlation: scale === 0 ? 0 : product / count / scale,
		identical: different === 0,
		inexact: isExact === null ? null : inexact,
	};
}

function emptySums() {
	return { sum: 0, squares: 0, positive: 0 };
}

function add(sums: ReturnType<typeof emptySums>, value: number): void {
	sums.sum += value;
	sums.squares += value * value;
	if (value > 0) sums.positive++;
}

function momentsOf(
	{ sum, squares, positive }: ReturnType<typeof emptySums>,
	count: number,
): Moments {
	return {
		mean: sum / count,
		rms: Math.sqrt(squares / count),
		positive: positive / count,
	};
}

/**
 * Whether a sum is a number of the delta's type, to be asked only where the base's values are all numbers
 * of that type too.
 */
function exactnessIn(
	base: FloatDtype,
	delta: FloatDtype,
): ((b: number, d: number) => boolean) | null {
	const round = ROUNDINGS[delta];
	if (round === null || (base !== delta && (delta !== "F32" || base === "F64")))
		return null;
	return (b, d) => {
		const sum = b + d;
		return sum - b === d && round(sum) === sum;
	};
}

const ROUNDINGS: Record<FloatDtype, ((value: number) => number) | null> = {
	F16: (value) => decodeF16(encodeF16(value)),
	BF16: (value) => decodeBF16(encodeBF16(value)),
	F32: Math.fround,
	F64: null, // a double cannot say what it lost
};
