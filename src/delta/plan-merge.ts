import type {
	CheckpointLayout,
	CheckpointTensor,
} from "../checkpoint/checkpoint.ts";
import { MismatchError } from "../errors.ts";
import { encodeHeader } from "../format/safetensors-writer.ts";
import { encodeShardIndex } from "../format/shard-index.ts";
import { shardFileName } from "../format/shard-name.ts";
import type { AddSpec } from "../kernel/kernel.ts";
import {
	FLOAT_DTYPES,
	type FloatDtype,
	isFloatDtype,
} from "../tensor/dtype.ts";
import { elementCount } from "../tensor/tensor.ts";
import {
	CONVENTIONS,
	type Convention,
	type ConventionId,
} from "./convention.ts";
import {
	counted,
	extraTensors,
	listed,
	pairTensors,
	type TensorPair,
} from "./mismatch.ts";
import {
	INPUT,
	type MergePlan,
	type OutputShard,
	PLAN_VERSION,
	type PlanInput,
	type Span,
} from "./plan.ts";

/** What transformers writes into every file. */
export const METADATA = new Map([["format", "pt"]]);

export interface PlanOptions {
	/** type of every output tensor; null: what the convention says */
	dtype: FloatDtype | null;
}

/** A plan, and what a person should know about it. */
export interface Planned {
	plan: MergePlan;
	warnings: readonly string[];
}

/**
 * Plan the merge of two checkpoints under one convention. Pure: reads nothing but the layouts.
 * The base's shards are mirrored, under the names transformers would give them.
 *
 * @throws {MismatchError} where the two do not fit together under this convention
 */
export function planMerge(
	base: CheckpointLayout,
	delta: CheckpointLayout,
	id: ConventionId,
	options: PlanOptions,
): Planned {
	const convention: Convention = CONVENTIONS[id];
	const { pairs, deltaOnly } = pairTensors(base, delta);
	if (pairs.length === 0)
		throw new MismatchError({
			where: base.location,
			what: "the base holds no tensor",
			remedy: "Name a model",
		});
	if (deltaOnly.length > 0 && convention.deltaOnly === "refuse")
		throw extraTensors(base, delta, deltaOnly);
	const specs = chooseSpecs(pairs, convention, options, delta.location);
	const shards = planShards(base, pairs, specs);
	const totals = countTotals(shards, pairs);
	const sideFiles = planSideFiles(base, delta, convention);
	return {
		plan: {
			version: PLAN_VERSION,
			convention: id,
			inputs: [inputOf("base", base), inputOf("delta", delta)],
			shards,
			index: planIndex(shards, totals),
			sideFiles: sideFiles.files,
			totals,
		},
		warnings: [
			...(deltaOnly.length === 0
				? []
				: [
						`${delta.location}: ${counted(deltaOnly.length)} only the delta has, dropped as ${id} does: ${deltaOnly.slice(0, 3).join(", ")}${deltaOnly.length > 3 ? ", …" : ""}`,
					]),
			...sideFiles.warnings,
		],
	};
}

/** The arithmetic for each pair, all faults listed at once. */
function chooseSpecs(
	pairs: readonly TensorPair[],
	convention: Convention,
	{ dtype }: PlanOptions,
	where: string,
): Map<string, AddSpec> {
	const specs = new Map<string, AddSpec>();
	const uncountable: string[] = [];
	const unequal: string[] = [];
	for (const { base: a, delta: b } of pairs) {
		if (!isFloatDtype(a.dtype) || !isFloatDtype(b.dtype)) {
			uncountable.push(`${a.name}: base ${a.dtype}, delta ${b.dtype}`);
			continue;
		}
		const { cast } = convention;
		const out = dtype ?? convention.out ?? (a.dtype === b.dtype && a.dtype);
		if (!out) {
			unequal.push(`${a.name}: base ${a.dtype}, delta ${b.dtype}`);
			continue;
		}
		specs.set(a.name, {
			base: a.dtype,
			delta: b.dtype,
			cast: a.dtype === cast && b.dtype === cast ? null : cast,
			out,
			subtract: false,
		});
	}
	if (uncountable.length > 0)
		throw new MismatchError({
			where,
			what: `${counted(uncountable.length)} cannot be added`,
			expected: `dtypes among ${FLOAT_DTYPES.join(", ")}`,
			remedy: "Sums of other types are undefined: use checkpoints without them",
			details: listed(uncountable),
		});
	if (unequal.length > 0)
		throw new MismatchError({
			where,
			what: `${counted(unequal.length)} of another dtype than in the base`,
			remedy: `Say which dtype the sum shall have: --dtype ${FLOAT_DTYPES.join("|")}`,
			details: listed(unequal),
		});
	return specs;
}

function planShards(
	base: CheckpointLayout,
	pairs: readonly TensorPair[],
	specs: ReadonlyMap<string, AddSpec>,
): OutputShard[] {
	const byShard = base.shards.map((): Map<string, TensorPair> => new Map());
	for (const pair of pairs)
		byShard[pair.base.shardIndex]?.set(pair.base.name, pair);
	const filled = byShard.filter((shard) => shard.size > 0);
	return filled.map((shard, shardIndex) =>
		planShard(shardFileName(shardIndex, filled.length), shard, specs),
	);
}

function planShard(
	fileName: string,
	pairs: ReadonlyMap<string, TensorPair>,
	specs: ReadonlyMap<string, AddSpec>,
): OutputShard {
	const operands = (name: string) => {
		const [pair, spec] = [pairs.get(name), specs.get(name)];
		if (!pair || !spec) throw new RangeError(`no operands for ${name}`);
		return { ...pair, spec };
	};
	const { json, byteLength, tensors } = encodeHeader(
		Array.from(pairs, ([name, { base }]) => ({
			name,
			dtype: operands(name).spec.out,
			shape: base.shape,
		})),
		METADATA,
		fileName,
	);
	return {
		fileName,
		byteLength: byteLength + (tensors.at(-1)?.dataOffsets[1] ?? 0),
		header: json,
		segments: tensors.map(({ name, dataOffsets: [begin, end] }) => {
			const { base, delta, spec } = operands(name);
			return {
				op: "add",
				tensor: name,
				spec,
				fileOffset: byteLength + begin,
				byteLength: end - begin,
				base: spanOf(INPUT.base, base),
				delta: spanOf(INPUT.delta, delta),
			};
		}),
	};
}

function spanOf(input: number, tensor: CheckpointTensor): Span {
	const { shardIndex: shard, fileOffset, byteLength } = tensor;
	return { input, shard, fileOffset, byteLength };
}

function countTotals(
	shards: readonly OutputShard[],
	pairs: readonly TensorPair[],
): MergePlan["totals"] {
	let elements = 0;
	for (const { base } of pairs) elements += elementCount(base.shape) ?? 0;
	let byteLength = 0;
	for (const { segments } of shards)
		for (const segment of segments) byteLength += segment.byteLength;
	return { tensors: pairs.length, elements, byteLength };
}

/** Text of the index of these shards; null where one is enough. */
export function planIndex(
	shards: readonly OutputShard[],
	totals: MergePlan["totals"],
): string | null {
	if (shards.length === 1) return null;
	const weightMap = new Map<string, string>();
	for (const { fileName, segments } of shards)
		for (const { tensor } of segments) weightMap.set(tensor, fileName);
	return encodeShardIndex(weightMap, totals.byteLength, totals.elements);
}

function planSideFiles(
	base: CheckpointLayout,
	delta: CheckpointLayout,
	convention: Convention,
): { files: MergePlan["sideFiles"]; warnings: string[] } {
	const layouts = { base, delta };
	const files: { fileName: string; from: "base" | "delta" }[] = [];
	const warnings: string[] = [];
	for (const kind of ["config", "tokenizer"] as const) {
		const from = convention[`${kind}From`];
		const found = layouts[from].sideFiles.filter((file) => file.kind === kind);
		for (const { fileName } of found) files.push({ fileName, from });
		if (found.length === 0)
			warnings.push(
				`${layouts[from].location}: no ${kind} file, so the merged model has none`,
			);
	}
	return { files, warnings };
}

export function inputOf(
	side: PlanInput["side"],
	layout: CheckpointLayout,
): PlanInput {
	return {
		side,
		shards: layout.shards.map(({ fileName, byteLength }) => ({
			fileName,
			byteLength,
		})),
	};
}
