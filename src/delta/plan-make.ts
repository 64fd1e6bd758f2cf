import type {
	CheckpointLayout,
	CheckpointTensor,
} from "../checkpoint/checkpoint.ts";
import { encodeHeader } from "../format/safetensors-writer.ts";
import { shardFileName } from "../format/shard-name.ts";
import { type Dtype, isFloatDtype } from "../tensor/dtype.ts";
import { elementCount } from "../tensor/tensor.ts";
import type { Convention } from "./convention.ts";
import { type ConventionId, conventionOf } from "./conventions.ts";
import { counted, extraTensors } from "./mismatch.ts";
import { pairTensors, ROTARY } from "./pair-tensors.ts";
import {
	type MergePlan,
	type OutputShard,
	PLAN_VERSION,
	type Segment,
} from "./plan.ts";
import {
	droppedWarnings,
	inputOf,
	METADATA,
	type Planned,
	type PlanOptions,
	planIndex,
	planMerge,
} from "./plan-merge.ts";
import { Fills } from "./segments.ts";
import { type MadeTensor, turnRound } from "./turn-round.ts";

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
	const convention = conventionOf(id, options.changes);
	const named = nameTensors(target, convention);
	const { own, dropped } = foresee(base, named, convention);
	const laidOut = layOutDelta(named, convention, own, dropped.delta);
	const merge = planMerge(base, laidOut.delta, id, options).plan;
	const { fills, shards } = turnPlan(merge, laidOut, convention);
	const totals = countTotals(laidOut.delta);
	const sideFiles = target.sideFiles.map(({ fileName }) => ({
		...{ fileName, from: "target" as const, vocabSize: null },
	}));
	return {
		plan: {
			version: PLAN_VERSION,
			convention: id,
			changes: options.changes,
			inputs: [inputOf("base", base), inputOf("target", target)],
			fills: fills.list,
			shards,
			index: planIndex(shards, totals),
			sideFiles,
			sum: null,
			totals,
		},
		warnings: [
			...droppedWarnings(base, "base", { tensors: [], dropped }, id),
			...leftOutWarnings(target, dropped.delta),
			...dtypeWarnings(target, shards),
			...sideFileWarnings(target),
		],
	};
}

/** A target whose tensors have the names of the delta's, and that ties none: the delta has each by itself. */
interface Named extends CheckpointLayout {
	/** the target's tensors by their names in the delta */
	targets: ReadonlyMap<string, CheckpointTensor>;
}

/** The merge names its tensors as the side it loops over does. */
function nameTensors(
	target: CheckpointLayout,
	{ loop, prefix }: Convention,
): Named {
	const targets = new Map<string, CheckpointTensor>();
	for (const tensor of target.tensors.values())
		targets.set((loop === "base" ? prefix : "") + tensor.name, tensor);
	const tensors = new Map<string, CheckpointTensor>();
	for (const [deltaName, { tiedTo: _, ...tensor }] of targets)
		tensors.set(deltaName, { ...tensor, name: deltaName });
	const location = `the delta of ${target.location}`;
	return { ...target, location, tensors, targets };
}

/** Which tensors of the delta a merge will take as they are, and which it will drop. */
function foresee(
	base: CheckpointLayout,
	delta: CheckpointLayout,
	convention: Convention,
) {
	const { tensors, dropped } = pairTensors(base, delta, convention);
	// What can be computed again is no loss; all else would be.
	const lost = dropped.delta.filter((name) => !ROTARY.test(name));
	if (lost.length > 0) throw extraTensors(base, delta, lost);
	const alone = tensors.filter((tensor) => tensor.base === null);
	return { own: new Set(alone.map(({ delta }) => delta.name)), dropped };
}

/** The delta's files without their segments, and what a reader of them will see. */
interface LaidOut {
	shards: Omit<OutputShard, "segments">[];
	delta: CheckpointLayout;
	/** by their names in the delta */
	made: ReadonlyMap<string, MadeTensor>;
}

function layOutDelta(
	named: Named,
	convention: Convention,
	own: ReadonlySet<string>,
	leftOut: readonly string[],
): LaidOut {
	const byShard = named.shards.map((): CheckpointTensor[] => []);
	for (const tensor of named.tensors.values())
		if (!leftOut.includes(tensor.name))
			byShard[tensor.shardIndex]?.push(tensor);
	const filled = byShard.filter((tensors) => tensors.length > 0);
	const tensors = new Map<string, CheckpointTensor>();
	const shards = filled.map((ours, shardIndex) => {
		const fileName = shardFileName(shardIndex, filled.length);
		const header = encodeHeader(
			ours.map(({ name, dtype, shape }) => ({
				...{ name, shape },
				dtype: deltaDtype(dtype, convention, own.has(name)),
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
		return { fileName, byteLength, header: header.json, sha256: null };
	});
	const made = new Map<string, MadeTensor>();
	for (const [name, delta] of tensors) {
		const target = named.targets.get(name);
		if (target) made.set(name, { delta, target });
	}
	return { shards, delta: { ...named, shards, tensors }, made };
}

/** What a merge copies as it is stored needs no other type than the target's. */
function deltaDtype(
	target: Dtype,
	{ deltaDtype, verbatimOut }: Convention,
	isOwn: boolean,
): Dtype {
	if (!isFloatDtype(target) || (isOwn && verbatimOut === null)) return target;
	return deltaDtype ?? target;
}

function turnPlan(
	merge: MergePlan,
	{ shards: files, made }: LaidOut,
	convention: Convention,
): { fills: Fills; shards: OutputShard[] } {
	const { prefix, loop } = convention;
	const fills = new Fills(merge.fills);
	const turning = { convention, mergeFills: merge.fills, fills };
	const byShard = files.map((): Segment[] => []);
	for (const segment of merge.shards.flatMap(({ segments }) => segments)) {
		const name = (loop === "base" ? prefix : "") + segment.tensor;
		const tensor = made.get(name);
		if (!tensor) throw new RangeError(`${name} is not in the delta`);
		byShard[tensor.delta.shardIndex]?.push(turnRound(segment, tensor, turning));
	}
	const shards = files.map((file, shard): OutputShard => {
		const segments = byShard[shard] ?? [];
		segments.sort((a, b) => a.fileOffset - b.fileOffset);
		return { ...file, segments };
	});
	return { fills, shards };
}

function countTotals({ tensors }: CheckpointLayout): MergePlan["totals"] {
	const totals = { tensors: tensors.size, elements: 0, byteLength: 0 };
	for (const { shape, byteLength } of tensors.values()) {
		totals.elements += elementCount(shape) ?? 0;
		totals.byteLength += byteLength;
	}
	return totals;
}

function leftOutWarnings(
	{ location }: CheckpointLayout,
	names: readonly string[],
): string[] {
	return names.length === 0
		? []
		: [
				`${location}: ${counted(names.length)} of rotary frequencies, which the merge drops, left out`,
			];
}

function dtypeWarnings(
	{ location }: CheckpointLayout,
	shards: readonly OutputShard[],
): string[] {
	const changed = new Map<string, Set<string>>();
	for (const segment of shards.flatMap(({ segments }) => segments)) {
		if (segment.op !== "add" || !segment.check) continue;
		const { target, out } = segment.check;
		if (target === out) continue;
		const change = `${target} in the target and will be ${out} once merged`;
		changed.set(change, (changed.get(change) ?? new Set()).add(segment.tensor));
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
