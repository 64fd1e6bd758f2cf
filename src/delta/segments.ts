import type { CheckpointTensor } from "../checkpoint/checkpoint.ts";
import type { AddSpec } from "../kernel/kernel.ts";
import {
	type Dtype,
	elementByteLength,
	type FloatDtype,
	isFloatDtype,
} from "../tensor/dtype.ts";
import type { GrowRule } from "./convention.ts";
import { type Fill, INPUT, type Segment, type Span } from "./plan.ts";

/** How one tensor of the output is made. */
export type Recipe =
	| {
			kind: "sum";
			base: CheckpointTensor;
			delta: CheckpointTensor;
			spec: AddSpec;
			/** what to do about rows and columns that only the delta has */
			grow: GrowRule;
	  }
	/** the delta's own bytes */
	| { kind: "copy"; delta: CheckpointTensor }
	/** the delta's own values, rounded to `out` */
	| {
			kind: "cast";
			delta: CheckpointTensor;
			from: FloatDtype;
			out: FloatDtype;
	  };

/** Operands that no file holds, each listed once. */
export class Fills {
	readonly list: Fill[];

	/** @param list  those to begin with */
	constructor(list: readonly Fill[] = []) {
		this.list = [...list];
	}

	/** @returns a span over the whole fill */
	add(fill: Fill): Span {
		const text = JSON.stringify(fill);
		let shard = this.list.findIndex((each) => JSON.stringify(each) === text);
		if (shard < 0) shard = this.list.push(fill) - 1;
		const { byteLength } = fill;
		return { input: INPUT.fill, shard, fileOffset: 0, byteLength };
	}

	/** @param sign  `00`, or `80` for the zero that changes no number: x + −0 is x, also where x is −0 */
	zeros(sign: "00" | "80", dtype: FloatDtype, count: number): Span {
		const width = elementByteLength(dtype);
		const element = "00".repeat(width - 1) + sign;
		return this.add({ kind: "pattern", element, byteLength: count * width });
	}
}

/** The segments that make a tensor, in the order of its bytes. @param fileOffset  where it begins in its file */
export function planTensor(
	name: string,
	recipe: Recipe,
	fileOffset: number,
	fills: Fills,
): Segment[] {
	const strip = new Strip(name, fileOffset, fills);
	const delta = spanOf(INPUT.delta, recipe.delta);
	if (recipe.kind === "copy") strip.copy(delta, floatDtype(recipe.delta.dtype));
	else if (recipe.kind === "cast") strip.cast(recipe.from, recipe.out, delta);
	else if (recipe.grow === "slice" && recipe.base.shape.length === 2)
		planCorner(strip, recipe);
	else planRows(strip, recipe);
	return strip.segments;
}

type Sum = Extract<Recipe, { kind: "sum" }>;

/** Rows that the base lacks begin as zeros or as the mean of those it has. */
function planRows(strip: Strip, { base, delta, spec, grow }: Sum): void {
	const mine = spanOf(INPUT.base, base);
	const columns = base.shape.slice(1).reduce((a, b) => a * b, 1);
	const count = mine.byteLength / elementByteLength(spec.base);
	const other = spanOf(INPUT.delta, delta);
	const width = elementByteLength(spec.delta);
	const [top, more] = cut(other, count * width);
	strip.add(spec, mine, top);
	const added = more.byteLength / width;
	if (added === 0) return;
	if (grow === "mean" || grow === "pad") {
		const rows = base.shape[0] ?? 0;
		const byteLength = added * elementByteLength("F32");
		const mean = { of: mine, dtype: spec.base, rows, columns, byteLength };
		const row = strip.fills.add({ kind: "mean", ...mean });
		strip.add({ ...spec, base: "F32" }, row, more);
	} else strip.add(spec, strip.fills.zeros("00", spec.base, added), more);
}

/** The base is added to the corner it covers; what lies beyond is the delta's own. */
function planCorner(strip: Strip, { base, delta, spec }: Sum): void {
	const [rows = 0, columns = 0] = base.shape;
	const allColumns = delta.shape[1] ?? 0;
	// Where only rows were added all of the corner is one piece.
	const pieces = columns === allColumns ? 1 : rows;
	const rowsEach = rows / pieces;
	let mine = spanOf(INPUT.base, base);
	let other = spanOf(INPUT.delta, delta);
	for (let i = 0; i < pieces; i++) {
		const ours = rowsEach * columns;
		const [a, restOfBase] = cut(mine, ours * elementByteLength(spec.base));
		const [b, after] = cut(other, ours * elementByteLength(spec.delta));
		const beside = rowsEach * (allColumns - columns);
		const [own, rest] = cut(after, beside * elementByteLength(spec.delta));
		strip.add(spec, a, b);
		strip.cast(spec.delta, spec.out, own);
		[mine, other] = [restOfBase, rest];
	}
	strip.cast(spec.delta, spec.out, other);
}

/** The segments of one tensor, one after another. */
class Strip {
	readonly segments: Segment[] = [];
	readonly fills: Fills;
	private readonly tensor: string;
	private fileOffset: number;

	constructor(tensor: string, fileOffset: number, fills: Fills) {
		this.tensor = tensor;
		this.fileOffset = fileOffset;
		this.fills = fills;
	}

	add(spec: AddSpec, base: Span, delta: Span): void {
		const count = delta.byteLength / elementByteLength(spec.delta);
		const place = this.place(count * elementByteLength(spec.out));
		this.segments.push({ op: "add", ...place, spec, base, delta });
	}

	copy(from: Span, dtype: FloatDtype | null): void {
		if (from.byteLength === 0 && this.segments.length > 0) return;
		const place = this.place(from.byteLength);
		this.segments.push({ op: "copy", ...place, dtype, from });
	}

	/** Rounded to another type; by adding a zero that changes nothing, so that every kernel can do it. */
	cast(from: FloatDtype, out: FloatDtype, span: Span): void {
		if (from === out || span.byteLength === 0) {
			this.copy(span, out);
			return;
		}
		const count = span.byteLength / elementByteLength(from);
		const same = { base: from, delta: from, cast: null };
		const spec = { ...same, out, subtract: false };
		this.add(spec, this.fills.zeros("80", from, count), span);
	}

	private place(byteLength: number) {
		const { tensor, fileOffset } = this;
		this.fileOffset += byteLength;
		return { tensor, fileOffset, byteLength };
	}
}

function floatDtype(dtype: Dtype): FloatDtype | null {
	return isFloatDtype(dtype) ? dtype : null;
}

function spanOf(input: number, tensor: CheckpointTensor): Span {
	const { shardIndex: shard, fileOffset, byteLength } = tensor;
	return { input, shard, fileOffset, byteLength };
}

/** A span's first bytes and the rest. */
function cut(span: Span, byteLength: number): [Span, Span] {
	return [
		{ ...span, byteLength },
		{
			...span,
			fileOffset: span.fileOffset + byteLength,
			byteLength: span.byteLength - byteLength,
		},
	];
}
