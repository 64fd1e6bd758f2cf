import type { CheckpointTensor } from "../checkpoint/checkpoint.ts";
import {
	elementByteLength,
	type FloatDtype,
	isFloatDtype,
} from "../tensor/dtype.ts";
import type { Convention } from "./convention.ts";
import {
	type AddSegment,
	type CopySegment,
	changesNothing,
	type Fill,
	INPUT,
	type Segment,
	type Span,
} from "./plan.ts";
import type { Fills } from "./segments.ts";

/** A tensor of the target, and where in the delta it will stand. */
export interface MadeTensor {
	delta: CheckpointTensor;
	target: CheckpointTensor;
}

/** What the segments of a merge are turned round with. */
export interface Turning {
	convention: Convention;
	/** those of the merge */
	mergeFills: readonly Fill[];
	/** those of what is made, to which more may be added */
	fills: Fills;
}

/** From a segment of a merge, the one that makes the stretch of the delta it reads. */
export function turnRound(
	segment: Segment,
	made: MadeTensor,
	turning: Turning,
): AddSegment | CopySegment {
	if (segment.op === "xor")
		throw new RangeError(`${segment.tensor}: bytes have no difference`);
	if (segment.op === "copy") return turnCopy(segment, made, turning);
	return changesNothing(segment, turning.mergeFills)
		? turnCast(segment, made, turning)
		: turnSum(segment, made, turning);
}

/** What the merge copies is copied, or rounded to the delta's type. */
function turnCopy(
	{ dtype, from }: CopySegment,
	made: MadeTensor,
	{ fills }: Turning,
): AddSegment | CopySegment {
	if (made.target.dtype !== made.delta.dtype)
		return round(made, from, floatDtype(made.delta), fills);
	const place = placeOf(made, from);
	return { op: "copy", ...place, dtype, from: targetSpan(made, from) };
}

/** What the merge rounds is rounded here to the delta's type, and its rounding there is checked. */
function turnCast(
	{ spec, delta }: AddSegment,
	made: MadeTensor,
	{ fills }: Turning,
): AddSegment {
	return round(made, delta, spec.out, fills);
}

/** @param out  type of what the merge gives back */
function round(
	made: MadeTensor,
	span: Span,
	out: FloatDtype,
	fills: Fills,
): AddSegment {
	const [dtype, target] = [floatDtype(made.delta), floatDtype(made.target)];
	const count = span.byteLength / elementByteLength(dtype);
	const plain = { base: dtype, cast: null, subtract: false };
	return {
		...{ op: "add", ...placeOf(made, span) },
		spec: { ...plain, delta: target, out: dtype },
		base: fills.zeros("80", dtype, count),
		delta: targetSpan(made, span),
		check: { ...plain, delta: dtype, out, target },
	};
}

/** From a sum of the merge, the difference that gives its second operand; from a difference, the sum. */
function turnSum(
	{ spec, base, delta: span }: AddSegment,
	made: MadeTensor,
	{ convention: { cast } }: Turning,
): AddSegment {
	const target = floatDtype(made.target);
	return {
		...{ op: "add", ...placeOf(made, span) },
		spec: {
			...{ base: spec.base, delta: target, out: spec.delta },
			cast: spec.base === cast && target === cast ? null : cast,
			subtract: !spec.subtract,
		},
		base,
		delta: targetSpan(made, span),
		check: { ...spec, target },
	};
}

function placeOf({ delta }: MadeTensor, { fileOffset, byteLength }: Span) {
	return { tensor: delta.name, fileOffset, byteLength };
}

/** The target's elements that a stretch of the delta stands for. */
function targetSpan({ delta, target }: MadeTensor, span: Span): Span {
	const [ours, theirs] = [delta, target].map(({ dtype }) =>
		isFloatDtype(dtype) ? elementByteLength(dtype) : 1,
	) as [number, number];
	const first = (span.fileOffset - delta.fileOffset) / ours;
	return {
		...{ input: INPUT.delta, shard: target.shardIndex },
		fileOffset: target.fileOffset + first * theirs,
		byteLength: (span.byteLength / ours) * theirs,
	};
}

function floatDtype({ name, dtype }: CheckpointTensor): FloatDtype {
	if (isFloatDtype(dtype)) return dtype;
	throw new RangeError(`${name}: ${dtype} cannot be rounded`);
}
