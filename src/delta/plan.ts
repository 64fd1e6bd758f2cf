import { createHash } from "node:crypto";
import type { AddSpec } from "../kernel/kernel.ts";
import type { RestorationSpec } from "../kernel/restoration.ts";
import type { FloatDtype } from "../tensor/dtype.ts";
import type { ByteSchemeId } from "./byte-schemes.ts";
import type { ConventionChanges, Side } from "./convention.ts";
import type { ConventionId } from "./conventions.ts";
import type { ExpectedSum } from "./published-sum.ts";

/** Raised whenever the same plan would be written differently or mean something else. */
export const PLAN_VERSION = 3;

/** Where spans read, by the number they use: two lists of files, and what no file holds. */
export const INPUT = { base: 0, delta: 1, fill: 2 } as const;

/** Which checkpoint a plan reads: a delta is made from base and target, the target in the delta's place. */
export type InputSide = Side | "target";

/**
 * What will be read, computed and written: plain data, the same for the same headers on every machine.
 * For every byte of every output shard it says where it comes from.
 */
export interface MergePlan {
	version: typeof PLAN_VERSION;
	convention: ConventionId | ByteSchemeId;
	/** what was different from that convention */
	changes: ConventionChanges;
	/** the files that are read, as `INPUT` numbers them */
	inputs: readonly PlanInput[];
	/** operands that no file holds, the "files" of `INPUT.fill` */
	fills: readonly Fill[];
	shards: readonly OutputShard[];
	/** text of the shard index, or null where there is one shard */
	index: string | null;
	sideFiles: readonly {
		fileName: string;
		from: InputSide;
		/** what `vocab_size` must say in it; null: all of it is copied as it is */
		vocabSize: number | null;
	}[];
	/** what all elements must add up to; null where nobody has said */
	sum: ExpectedSum | null;
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
	/** JSON of the safetensors header, padded; null for a file that is only its segments */
	header: string | null;
	/** what the file must turn out to be, in hex; null where nobody has said */
	sha256: string | null;
	/** in file order; they tile the data section with no hole */
	segments: readonly Segment[];
}

/** A run of output bytes with one origin. Closed union: the engine switches on `op` once. */
export type Segment = AddSegment | CopySegment | XorSegment;

interface SegmentPlace {
	/** the tensor, or else the file, that these bytes belong to, for messages */
	tensor: string;
	/** from the start of the output file */
	fileOffset: number;
	byteLength: number;
}

/** `out = base + delta`, element by element; where the spec subtracts, `out = delta − base`. */
export interface AddSegment extends SegmentPlace {
	op: "add";
	spec: AddSpec;
	base: Span;
	delta: Span;
	/** the merge that shall give back the second operand from the base and this output: what it does not is counted */
	check?: RestorationSpec;
}

/** `out = from`, byte by byte. */
export interface CopySegment extends SegmentPlace {
	op: "copy";
	/** of the elements; null where the bytes are no numbers */
	dtype: FloatDtype | null;
	from: Span;
}

/** `out = base ^ delta`, byte by byte. */
export interface XorSegment extends SegmentPlace {
	op: "xor";
	base: Span;
	delta: Span;
}

/**
 * An operand that no file holds. `pattern`: the bytes of one little-endian element, in hex, over and over.
 * `mean`: a row of F32, the mean of `rows` rows of `columns` elements of a tensor, over and over.
 */
export type Fill =
	| { kind: "pattern"; element: string; byteLength: number }
	| {
			kind: "mean";
			of: Span;
			dtype: FloatDtype;
			rows: number;
			columns: number;
			byteLength: number;
	  };

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

/** What a segment reads, in the order its operation takes it. */
export function spansOf(segment: Segment): Span[] {
	return segment.op === "copy" ? [segment.from] : [segment.base, segment.delta];
}

/** Files of the inputs that segments read, themselves or for their fills, in the order of their first use. */
export function filesOf(
	segments: readonly Segment[],
	fills: readonly Fill[],
): { input: number; shard: number }[] {
	const files = new Map<string, { input: number; shard: number }>();
	for (const span of segments.flatMap(spansOf)) {
		const fill = span.input === INPUT.fill ? fills[span.shard] : undefined;
		const file = fill?.kind === "mean" ? fill.of : span;
		if (file.input === INPUT.fill) continue;
		const { input, shard } = file;
		files.set(`${input}:${shard}`, { input, shard });
	}
	return [...files.values()];
}

/** SHA-256, in hex, of the plan's text: two plans of one id do the same work. */
export function planId(plan: MergePlan): string {
	return createHash("sha256").update(JSON.stringify(plan)).digest("hex");
}

/**
 * The kinds of segments in a plan, sorted: `BF16 + F32 → F32`, `F32 + F32 as F16 → F16`, `copy`, `xor`; where
 * the base is taken away, it stands second: `F16 − F16 → F16`.
 */
export function sumsOf(plan: MergePlan): string[] {
	const sums = new Set<string>();
	for (const { segments } of plan.shards)
		for (const segment of segments) sums.add(describeSegment(segment));
	return [...sums].sort();
}

/** The sums by which what was made will be merged, in the same manner; null where the plan is a merge. */
export function mergeSumsOf(plan: MergePlan): string[] | null {
	if (!plan.inputs.some(({ side }) => side === "target")) return null;
	const sums = new Set<string>();
	for (const { segments } of plan.shards)
		for (const segment of segments) sums.add(describeMerge(segment, plan));
	return [...sums].sort();
}

function describeMerge(segment: Segment, { fills }: MergePlan): string {
	if (segment.op !== "add" || !segment.check) return segment.op;
	const { check } = segment;
	return check.delta === check.out && changesNothing(segment, fills)
		? "copy"
		: describeSum(check);
}

/** Whether an operation only rounds its second operand, by adding a −0 to it. */
export function changesNothing(
	{ base, spec }: AddSegment,
	fills: readonly Fill[],
): boolean {
	const fill = base.input === INPUT.fill ? fills[base.shard] : undefined;
	return (
		fill?.kind === "pattern" && fill.element.endsWith("80") && !spec.subtract
	);
}

function describeSegment(segment: Segment): string {
	return segment.op === "add" ? describeSum(segment.spec) : segment.op;
}

function describeSum({ base, delta, cast, out, subtract }: AddSpec): string {
	const sum = subtract ? `${delta} − ${base}` : `${base} + ${delta}`;
	return `${sum}${cast ? ` as ${cast}` : ""} → ${out}`;
}
