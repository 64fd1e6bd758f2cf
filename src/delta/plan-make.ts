import type {
	CheckpointLayout,
	CheckpointTensor,
} from "../checkpoint/checkpoint.ts";
import { encodeHeader } from "../format/safetensors-writer.ts";
import { shardFileName } from "../format/shard-name.ts";
import type { AddSpec } from "../kernel/kernel.ts";
import { elementByteLength, isFloatDtype } from "../tensor/dtype.ts";
import { elementCount } from "../tensor/tensor.ts";
import {
	CONVENTIONS,
	type Convention,
	type ConventionId,
} from "./convention.ts";
import { counted, extraTensors } from "./mismatch.ts";
import {
	type AddSegment,
	INPUT,
	type MergePlan,
	type OutputShard,
	PLAN_VERSION,
} from "./plan.ts";
import {
	inputOf,
	METADATA,
	type Planned,
	type PlanOptions,
	planIndex,
	planMerge,
} from "./plan-merge.ts";

/**
 * Plan the delta that takes a base to a target under one convention: it has the target's tensors in the
 * target's shards, in the type of the convention's deltas. Pure: reads nothing but the layouts.
 *
 * The delta is laid out first, and its merge with the base is planned; that plan turned round is this one.
 * So nothing is made that could not be merged, and each difference knows the sum that shall undo it.
 *
 * @param options  those of the merge
 * @throws {MismatchError} where the two do not fit together under this convention
 */
export function planMake(
	base: CheckpointLayout,
	target: CheckpointLayout,
	id: ConventionId,
	options: PlanOptions,
): Planned {
	const convention: Convention = CONVENTIONS[id];
	const { shards: files, delta } = layOutDelta(target, convention);
	const merge = planMerge(base, delta, id, options).plan;
	const sums = merge.shards.flatMap(({ segments }) => segments);
	refuseDropped(base, delta, sums);
	const segments = sums.map((sum) => turnRound(sum, convention, delta, target));
	const shards = files.map((file, shard): OutputShard => {
		const ours = segments.filter((_, i) => sums[i]?.delta.shard === shard);
		ours.sort((a, b) => a.fileOffset - b.fileOffset);
		return { ...file, segments: ours };
	});
	const totals = countTotals(delta);
	const sideFiles = target.sideFiles.map(({ fileName }) => ({
		...{ fileName, from: "target" as const },
	}));
	return {
		plan: {
			version: PLAN_VERSION,
			convention: id,
			inputs: [inputOf("base", base), inputOf("target", target)],
			shards,
			index: planIndex(shards, totals),
			sideFiles,
			totals,
		},
		warnings: [...dtypeWarnings(target, segments), ...sideFileWarnings(target)],
	};
}

/** The delta's files without their segments, and what a reader of them will see. */
function layOutDelta(
	target: CheckpointLayout,
	{ deltaDtype }: Convention,
): { shards: Omit<OutputShard, "segments">[]; delta: CheckpointLayout } {
	const byShard = target.shards.map((): CheckpointTensor[] => []);
	for (const tensor of target.tensors.values())
		byShard[tensor.shardIndex]?.push(tensor);
	const filled = byShard.filter((tensors) => tensors.length > 0);
	const tensors = new Map<string, CheckpointTensor>();
	const shards = filled.map((ours, shardIndex) => {
		const fileName = shardFileName(shardIndex, filled.length);
		const header = encodeHeader(
			ours.map(({ name, dtype, shape }) => ({
				...{ name, shape },
				dtype: isFloatDtype(dtype) ? (deltaDtype ?? dtype) : dtype,
			})),
			...([METADATA, fileName] as const),
		);
		for (const { name, dtype, shape, dataOffsets } of header.tensors)
			tensors.set(name, {
				...{ name, dtype, shape, shardIndex },
				fileOffset: header.byteLength + dataOffsets[0],
				byteLength: dataOffsets[1] - dataOffsets[0],
			});
		const dataBytes = header.tensors.at(-1)?.dataOffsets[1] ?? 0;
		const byteLength = header.byteLength + dataBytes;
		return { fileName, byteLength, header: header.json };
	});
	const location = `the delta of ${target.location}`;
	return { shards, delta: { ...target, location, shards, tensors } };
}

/** A tensor that the merge would drop would be lost. */
function refuseDropped(
	base: CheckpointLayout,
	delta: CheckpointLayout,
	sums: readonly AddSegment[],
): void {
	const merged = new Set(sums.map(({ tensor }) => tensor));
	const dropped = [...delta.tensors.keys()].filter((name) => !merged.has(name));
	if (dropped.length > 0) throw extraTensors(base, delta, dropped);
}

/** From a sum of the merge, the difference that gives its second operand. */
function turnRound(
	{ tensor: name, spec, base, delta: place }: AddSegment,
	{ cast }: Convention,
	delta: CheckpointLayout,
	target: CheckpointLayout,
): AddSegment {
	const [ours, theirs] = [delta.tensors.get(name), target.tensors.get(name)];
	if (!ours || !theirs || !isFloatDtype(theirs.dtype))
		throw new RangeError(`no operand for ${name}`);
	const width = elementByteLength(theirs.dtype);
	const step = elementByteLength(spec.delta);
	const first = (place.fileOffset - ours.fileOffset) / step;
	const difference: AddSpec = {
		base: spec.base,
		delta: theirs.dtype,
		cast: spec.base === cast && theirs.dtype === cast ? null : cast,
		out: spec.delta,
		subtract: true,
	};
	return {
		op: "add",
		tensor: name,
		spec: difference,
		fileOffset: place.fileOffset,
		byteLength: place.byteLength,
		base,
		delta: {
			input: INPUT.delta,
			shard: theirs.shardIndex,
			fileOffset: theirs.fileOffset + first * width,
			byteLength: (place.byteLength / step) * width,
		},
		check: { ...spec, target: theirs.dtype },
	};
}

function countTotals({ tensors }: CheckpointLayout): MergePlan["totals"] {
	const totals = { tensors: tensors.size, elements: 0, byteLength: 0 };
	for (const { shape, byteLength } of tensors.values()) {
		totals.elements += elementCount(shape) ?? 0;
		totals.byteLength += byteLength;
	}
	return totals;
}

function dtypeWarnings(
	{ location }: CheckpointLayout,
	segments: readonly AddSegment[],
): string[] {
	const changed = new Map<string, Set<string>>();
	for (const { tensor, check } of segments)
		if (check && check.target !== check.out) {
			const change = `${check.target} in the target and will be ${check.out} once merged`;
			changed.set(change, (changed.get(change) ?? new Set()).add(tensor));
		}
	return Array.from(
		changed,
		([change, { size }]) =>
			`${location}: ${counted(size)} ${size === 1 ? "is" : "are"} ${change}`,
	);
}

function sideFileWarnings({ location, sideFiles }: CheckpointLayout): string[] {
	const kinds = ["config", "tokenizer"].filter(
		(kind) => !sideFiles.some((file) => file.kind === kind),
	);
	return kinds.map(
		(kind) => `${location}: no ${kind} file, so the delta has none`,
	);
}
