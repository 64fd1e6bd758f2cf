import { DTYPES, type Dtype } from "./dtype.ts";

/** A tensor as a header names it; `shape` outermost first, `[]` for a scalar. */
export interface TensorType {
	dtype: Dtype;
	shape: readonly number[];
}

/** Number of elements, or `undefined` where the product, taken left to right, passes 2^53 − 1. */
export function elementCount(shape: readonly number[]): number | undefined {
	let count = 1;
	for (const dimension of shape) {
		count *= dimension;
		if (!Number.isSafeInteger(count)) return undefined;
	}
	return count;
}

/**
 * Bytes of a tensor, or `undefined` where they pass 2^53 − 1 or do not fill whole bytes
 * (an odd number of 4-bit elements).
 */
export function tensorByteLength(tensor: TensorType): number | undefined {
	const count = elementCount(tensor.shape);
	if (count === undefined) return undefined;
	const bits = count * DTYPES[tensor.dtype].bits;
	return Number.isSafeInteger(bits) && bits % 8 === 0 ? bits / 8 : undefined;
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
	return a.length === b.length && a.every((dimension, i) => dimension === b[i]);
}

/** `[32000, 4096]` */
export function formatShape(shape: readonly number[]): string {
	return `[${shape.join(", ")}]`;
}

/** Whether `a` is `b` with more rows: 32001 of 4096 and 32000 of 4096. */
export function hasMoreRows(
	a: readonly number[],
	b: readonly number[],
): boolean {
	return (a[0] ?? 0) > (b[0] ?? 0) && sameShape(a.slice(1), b.slice(1));
}
