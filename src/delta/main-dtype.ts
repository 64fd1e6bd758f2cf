import type { CheckpointLayout } from "../checkpoint/checkpoint.ts";
import type { Dtype } from "../tensor/dtype.ts";

/** The type of most of a checkpoint's bytes; null where it holds none. */
export function mainDtype({ tensors }: CheckpointLayout): Dtype | null {
	const byteLengths = new Map<Dtype, number>();
	for (const { dtype, byteLength } of tensors.values())
		byteLengths.set(dtype, (byteLengths.get(dtype) ?? 0) + byteLength);
	const [most] = [...byteLengths].sort(([, a], [, b]) => b - a);
	return most?.[0] ?? null;
}
