import type { OutputShard, Segment, Span } from "../delta/plan.ts";
import { elementByteLength } from "../tensor/dtype.ts";

/** A stretch of one segment that fits the buffers. */
export interface Slice {
	segment: Segment;
	/** whole elements */
	byteLength: number;
	base: Span;
	delta: Span;
}

/**
 * Cut a shard's segments, in file order, so that no operand and no result is longer than `sliceBytes`.
 */
export function* sliceShard(
	shard: OutputShard,
	sliceBytes: number,
): Generator<Slice> {
	for (const segment of shard.segments) {
		const { base, delta, spec } = segment;
		const [baseStep, deltaStep, outStep] = [
			elementByteLength(spec.base),
			elementByteLength(spec.delta),
			elementByteLength(spec.out),
		];
		const elementCount = segment.byteLength / outStep;
		const step = Math.floor(
			sliceBytes / Math.max(baseStep, deltaStep, outStep),
		);
		for (let first = 0; first < elementCount; first += step) {
			const count = Math.min(step, elementCount - first);
			yield {
				segment,
				byteLength: count * outStep,
				base: within(base, first * baseStep, count * baseStep),
				delta: within(delta, first * deltaStep, count * deltaStep),
			};
		}
	}
}

function within(span: Span, byteOffset: number, byteLength: number): Span {
	return { ...span, fileOffset: span.fileOffset + byteOffset, byteLength };
}
