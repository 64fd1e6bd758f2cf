import { createHash } from "node:crypto";
import type { AddSpec } from "../kernel/kernel.ts";
import type { RestorationSpec } from "../kernel/restoration.ts";
import type { ConventionId, Side } from "./convention.ts";

/** Raised whenever the same plan would be written differently or mean something else. */
export const PLAN_VERSION = 1;

/** The inputs of a plan, by the number its spans use. */
export const INPUT = { base: 0, delta: 1 } as const;

/** Which checkpoint a plan reads: a delta is made from base and target, the target in the delta's place. */
export type InputSide = Side | "target";

/**
 * What will be read, computed and written: plain data, the same for the same headers on every machine.
 * For every byte of every output shard it says where it comes from.
 */
export interface MergePlan {
	version: typeof PLAN_VERSION;
	convention: ConventionId;
	/** the weight files that are read, as `INPUT` numbers them */
	inputs: readonly PlanInput[];
	shards: readonly OutputShard[];
	/** text of the shard index, or null where there is one shard */
	index: string | null;
	sideFiles: readonly { fileName: string; from: InputSide }[];
	/** counts over all tensors written */
	totals: { tensors: number; elements: number; byteLength: number };
}

export interface PlanInput {
	side: InputSide;
	shards: readonly { fileName: string; byteLength: number }[];
}

export interface OutputShard {
	fileName: string;
	/** whole file, header included */
	byteLength: number;
	/** JSON of the header, padded */
	header: string;
	/** in file order; they tile the data section with no hole */
	segments: readonly Segment[];
}

/** A run of output bytes with one origin. Closed union: the engine switches on `op` once. */
export type Segment = AddSegment;

/** `out = base + delta`, element by element; where the spec subtracts, `out = delta − base`. */
export interface AddSegment {
	op: "add";
	/** the tensor these bytes belong to, for messages */
	tensor: string;
	spec: AddSpec;
	/** from the start of the output file */
	fileOffset: number;
	byteLength: number;
	base: Span;
	delta: Span;
	/** the merge that shall give back the second operand from the base and this output: what it does not is counted */
	check?: RestorationSpec;
}

/** Bytes of an input. */
export interface Span {
	/** index into `MergePlan.inputs` */
	input: number;
	/** index into the shards of that input */
	shard: number;
	/** from the start of that file */
	fileOffset: number;
	byteLength: number;
}

/** SHA-256, in hex, of the plan's text: two plans of one id do the same work. */
export function planId(plan: MergePlan): string {
	return createHash("sha256").update(JSON.stringify(plan)).digest("hex");
}

/**
 * The kinds of sums in a plan, sorted: `BF16 + F32 → F32`, `F32 + F32 as F16 → F16`; where the base is taken
 * away, it stands second: `F16 − F16 → F16`.
 */
export function sumsOf(plan: MergePlan): string[] {
	const sums = new Set<string>();
	for (const { segments } of plan.shards)
		for (const { spec } of segments) sums.add(describeSum(spec));
	return [...sums].sort();
}

/** The sums by which what was made will be merged, in the same manner; none where the plan is a merge. */
export function mergeSumsOf(plan: MergePlan): string[] {
	const sums = new Set<string>();
	for (const { segments } of plan.shards)
		for (const { check } of segments) if (check) sums.add(describeSum(check));
	return [...sums].sort();
}

function describeSum({ base, delta, cast, out, subtract }: AddSpec): string {
	const sum = subtract ? `${delta} − ${base}` : `${base} + ${delta}`;
	return `${sum}${cast ? ` as ${cast}` : ""} → ${out}`;
}
