import type { Checkpoint, CheckpointTensor } from "./checkpoint/checkpoint.ts";
import {
	condense,
	type SampleKind,
	type TensorSample,
} from "./delta/tensor-sample.ts";
import {
	elementByteLength,
	type FloatDtype,
	isFloatDtype,
} from "./tensor/dtype.ts";
import { READ_ELEMENT } from "./tensor/element.ts";
import { elementCount, sameShape } from "./tensor/tensor.ts";

const MATRICES = 12;
const NORMS = 4;
const SLICES = 4;
const SLICE_ELEMENTS = 4096;
/** Matrices this much smaller than the largest are left out. */
const SMALLEST_SHARE = 1 / 16;
/** Some conventions put these into the delta whole. */
const OFTEN_WHOLE =
	/embed|tok_embeddings|lm_head|wte|wpe|^output\.|mm_projector|inv_freq/;
const NORM_NAME = /(?:norm|\bln)[^.]*\.weight$/i;

/** A tensor both sides have, of one shape. */
interface Candidate {
	name: string;
	kind: SampleKind;
	elements: number;
	base: CheckpointTensor & { dtype: FloatDtype };
	delta: CheckpointTensor & { dtype: FloatDtype };
}

/**
 * Look at a few elements of a few tensors that both sides have: 12 large matrices and 4 norms, spread evenly
 * over the model, 4 slices of 4096 elements of each. The same ones every time; at most 2 MiB of F32 a side.
 */
export async function sampleCheckpoints(
	base: Checkpoint,
	delta: Checkpoint,
): Promise<TensorSample[]> {
	// All at once, because each may be far away.
	const samples = await Promise.all(
		chooseTensors(base, delta).map(async (tensor) =>
			condense(
				tensor,
				...(await Promise.all([
					readSlices(base, tensor.base, tensor.elements),
					readSlices(delta, tensor.delta, tensor.elements),
				])),
			),
		),
	);
	return samples.filter((sample) => sample !== null);
}

function chooseTensors(base: Checkpoint, delta: Checkpoint): Candidate[] {
	const candidates: Candidate[] = [];
	for (const [name, b] of base.tensors) {
		const d = delta.tensors.get(name);
		if (d === undefined || !sameShape(b.shape, d.shape)) continue;
		if (!isFloat(b) || !isFloat(d) || OFTEN_WHOLE.test(name)) continue;
		const elements = elementCount(b.shape) ?? 0;
		const kind = kindOf(b);
		if (kind !== null && elements > 0)
			candidates.push({ name, kind, elements, base: b, delta: d });
	}
	const matrices = candidates.filter(({ kind }) => kind === "matrix");
	const largest = matrices.reduce(
		(m, { elements }) => Math.max(m, elements),
		0,
	);
	return [
		...spread(
			matrices.filter(({ elements }) => elements >= largest * SMALLEST_SHARE),
			MATRICES,
		),
		...spread(
			candidates.filter(({ kind }) => kind === "norm"),
			NORMS,
		),
	];
}

function isFloat(
	tensor: CheckpointTensor,
): tensor is CheckpointTensor & { dtype: FloatDtype } {
	return isFloatDtype(tensor.dtype);
}

function kindOf({ name, shape }: CheckpointTensor): SampleKind | null {
	if (shape.length === 2) return "matrix";
	return shape.length === 1 && NORM_NAME.test(name) ? "norm" : null;
}

/** At most `count` of the items, the first and the last among them, evenly spaced. */
function spread<T>(items: readonly T[], count: number): T[] {
	if (items.length <= count) return [...items];
	const step = (items.length - 1) / (count - 1);
	return Array.from(
		{ length: count },
		(_, i) => items[Math.round(i * step)] as T,
	);
}

async function readSlices(
	{ shards }: Checkpoint,
	{ dtype, shardIndex, fileOffset }: Candidate["base"],
	elements: number,
): Promise<{ dtype: FloatDtype; values: Float64Array }> {
	const source = shards[shardIndex]?.source;
	if (source === undefined) throw new RangeError(`no shard ${shardIndex}`);
	const width = elementByteLength(dtype);
	const whole = elements <= SLICES * SLICE_ELEMENTS;
	const sliceElements = whole ? elements : SLICE_ELEMENTS;
	const starts = whole
		? [0]
		: Array.from({ length: SLICES }, (_, i) =>
				Math.floor(((elements - SLICE_ELEMENTS) * i) / (SLICES - 1)),
			);
	const bytes = new Uint8Array(starts.length * sliceElements * width);
	await Promise.all(
		starts.map((start, i) =>
			source.read(
				fileOffset + start * width,
				bytes.subarray(
					i * sliceElements * width,
					(i + 1) * sliceElements * width,
				),
			),
		),
	);
	return { dtype, values: decode(dtype, bytes) };
}

/** Values of consecutive little-endian elements. */
function decode(dtype: FloatDtype, bytes: Uint8Array): Float64Array {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
	const width = elementByteLength(dtype);
	const at = READ_ELEMENT[dtype];
	const values = new Float64Array(bytes.length / width);
	for (let i = 0; i < values.length; i++) values[i] = at(view, i * width);
	return values;
}
