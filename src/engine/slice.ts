import {
	INPUT,
	type OutputShard,
	type Segment,
	type Span,
} from "../delta/plan.ts";
import { headerBytes } from "../format/safetensors-writer.ts";
import { DIRECT_ALIGNMENT } from "../io/direct-io.ts";
import type { AddSpec } from "../kernel/kernel.ts";
import type { RestorationSpec } from "../kernel/restoration.ts";
import { elementByteLength, type FloatDtype } from "../tensor/dtype.ts";
import type { ByteRange } from "./read-order.ts";

/**
 * A stretch of an output file with all that is needed to make it, laid out in one slot: the output from
 * the slot's start on, the operands behind it. All `slotOffset`s count from the slot's start.
 */
export interface Slice {
	reads: readonly Read[];
	/** output bytes that are known from the plan: the header */
	literals: readonly { slotOffset: number; bytes: Uint8Array }[];
	parts: readonly Part[];
	/** null where the bytes are read for their checksum alone */
	write: { fileOffset: number; byteLength: number } | null;
}

/** A slice that makes bytes of an output file. */
export interface OutputSlice extends Slice {
	write: NonNullable<Slice["write"]>;
}

/** Bytes of one input that lie together in its file and in the slot. */
export interface Read extends Span {
	slotOffset: number;
	/** what the slice is made of; all else lies there only because direct I/O reads whole pages */
	wanted: ByteRange;
}

/** Bytes in a slot. */
export interface Place {
	slotOffset: number;
	byteLength: number;
}

/** What one segment gives to a slice, in whole elements. `operands` as the segment names them, in its order. */
export type Part = {
	tensor: string;
	/** of the result; null where its bytes are no numbers */
	dtype: FloatDtype | null;
	operands: readonly Place[];
	out: Place;
} & (
	| {
			op: "add";
			spec: AddSpec;
			/** null where nothing is to be given back */
			check: RestorationSpec | null;
	  }
	| { op: "copy" }
	| { op: "xor" }
);

/** A hole this small between two operands is read with them: cheaper than a read of its own. */
const MAX_HOLE_BYTES = 2 ** 16;
/** Reads from this length on are widened to what direct I/O can do. */
const MIN_DIRECT_BYTES = 2 ** 16;
/** Smaller reads begin at such addresses, which suits every vector unit. */
const SMALL_READ_ALIGNMENT = 64;

/** Cuts a stretch of an output shard, from its start to its end, into slices that fit a slot. */
export class ShardCutter {
	readonly shard: OutputShard;
	private readonly header: Uint8Array;
	private readonly end: number;
	private fileOffset = 0;
	/** the first segment that is not written whole yet */
	private first = 0;

	/**
	 * @param begin  where to begin, such as a slice before has ended
	 * @param end    behind the last byte to cut; both default to the whole shard
	 */
	constructor(shard: OutputShard, begin = 0, end = shard.byteLength) {
		this.shard = shard;
		this.end = end;
		this.pass(begin);
		this.header =
			shard.header === null ? new Uint8Array() : headerBytes(shard.header);
	}

	get isDone(): boolean {
		return this.fileOffset === this.end;
	}

	/**
	 * The next slice.
	 *
	 * @param sliceBytes  output bytes wanted, a multiple of `DIRECT_ALIGNMENT`; fewer where the file ends
	 *                    or where the operands would not fit
	 * @param slotBytes   room for output and operands
	 */
	next(sliceBytes: number, slotBytes: number): OutputSlice {
		let wanted = sliceBytes;
		let cut = this.cut(this.reach(wanted));
		while (cut.slotBytes > slotBytes) {
			wanted = alignUp(wanted / 2, DIRECT_ALIGNMENT);
			cut = this.cut(this.reach(wanted));
		}
		this.pass(this.fileOffset + cut.slice.write.byteLength);
		return cut.slice;
	}

	/** How long a slice of about so many bytes is that ends where elements and pages do. */
	private reach(wanted: number): number {
		const until = this.fileOffset + wanted;
		const aligned = until - (until % DIRECT_ALIGNMENT);
		return Math.min(aligned, this.end) - this.fileOffset;
	}

	private pass(fileOffset: number): void {
		this.fileOffset = fileOffset;
		while (this.first < this.shard.segments.length) {
			const segment = this.segment(this.first);
			if (segment.fileOffset + segment.byteLength > this.fileOffset) break;
			this.first++;
		}
	}

	private cut(byteLength: number) {
		const begin = this.fileOffset;
		const end = begin + byteLength;
		const layout = new SlotLayout(byteLength);
		const literals =
			begin < this.header.length
				? [{ slotOffset: 0, bytes: this.header.subarray(begin, end) }]
				: [];
		const parts: Part[] = [];
		for (let i = this.first; i < this.shard.segments.length; i++) {
			const segment = this.segment(i);
			if (segment.fileOffset >= end) break;
			parts.push(...cutSegment(segment, begin, end, layout));
		}
		const write = { fileOffset: begin, byteLength };
		return {
			slotBytes: layout.byteLength,
			slice: { reads: layout.reads, literals, parts, write },
		};
	}

	private segment(index: number): Segment {
		const segment = this.shard.segments[index];
		if (!segment) throw new RangeError(`no segment ${index}`);
		return segment;
	}
}

function dtypeOf(segment: Segment): FloatDtype | null {
	switch (segment.op) {
		case "add":
			return segment.spec.out;
		case "copy":
			return segment.dtype;
		case "xor":
			return null;
	}
}

/** The part of a segment between two offsets of its output file, with its operands placed; none if it is empty. */
function cutSegment(
	segment: Segment,
	begin: number,
	end: number,
	layout: SlotLayout,
): Part[] {
	const { tensor, fileOffset, byteLength } = segment;
	const dtype = dtypeOf(segment);
	const step = dtype === null ? 1 : elementByteLength(dtype);
	const first = (Math.max(begin, fileOffset) - fileOffset) / step;
	const count =
		(Math.min(end, fileOffset + byteLength) - fileOffset) / step - first;
	if (!Number.isInteger(first) || !Number.isInteger(count))
		throw new RangeError(`${tensor}: an element lies across two slices`);
	if (count <= 0) return [];
	const place = (span: Span, width: number) =>
		layout.place({
			input: span.input,
			shard: span.shard,
			fileOffset: span.fileOffset + first * width,
			byteLength: count * width,
		});
	const out = {
		slotOffset: fileOffset + first * step - begin,
		byteLength: count * step,
	};
	switch (segment.op) {
		case "add": {
			const { op, spec, base, delta, check = null } = segment;
			const operands = [
				place(base, elementByteLength(spec.base)),
				place(delta, elementByteLength(spec.delta)),
			];
			return [{ op, tensor, dtype, spec, check, operands, out }];
		}
		case "copy": {
			const operands = [place(segment.from, step)];
			return [{ op: "copy", tensor, dtype, operands, out }];
		}
		case "xor": {
			const operands = [place(segment.base, 1), place(segment.delta, 1)];
			return [{ op: "xor", tensor, dtype, operands, out }];
		}
	}
}

/** Places operands in a slot, those that lie together in a file as one read. */
class SlotLayout {
	/** the operands of one input, in the order they were placed */
	private readonly runs = new Map<number, Span[]>();
	private readonly places: {
		run: Span;
		fileOffset: number;
		place: Place;
	}[] = [];
	private readonly outBytes: number;
	private laidOut: { reads: Read[]; byteLength: number } | null = null;

	constructor(outBytes: number) {
		this.outBytes = outBytes;
	}

	/** @returns a place whose `slotOffset` is right once the layout is read */
	place(span: Span): Place {
		const runs = this.runs.get(span.input) ?? [];
		this.runs.set(span.input, runs);
		let run = runs.at(-1);
		const runEnd = run ? run.fileOffset + run.byteLength : 0;
		const hole = span.fileOffset - runEnd;
		if (run?.shard === span.shard && hole >= 0 && hole <= MAX_HOLE_BYTES)
			run.byteLength += hole + span.byteLength;
		else {
			run = { ...span };
			runs.push(run);
		}
		const place = { slotOffset: 0, byteLength: span.byteLength };
		this.places.push({ run, fileOffset: span.fileOffset, place });
		return place;
	}

	get reads(): readonly Read[] {
		return this.layOut().reads;
	}

	get byteLength(): number {
		return this.layOut().byteLength;
	}

	private layOut() {
		if (this.laidOut) return this.laidOut;
		const reads = new Map<Span, Read>();
		let at = alignUp(this.outBytes, DIRECT_ALIGNMENT);
		for (const run of [...this.runs.values()].flat()) {
			const { input, shard, fileOffset, byteLength } = run;
			const wide = input !== INPUT.fill && byteLength >= MIN_DIRECT_BYTES;
			const alignment = wide ? DIRECT_ALIGNMENT : 1;
			const begin = fileOffset - (fileOffset % alignment);
			const length = alignUp(fileOffset + byteLength, alignment) - begin;
			at = alignUp(at, wide ? DIRECT_ALIGNMENT : SMALL_READ_ALIGNMENT);
			reads.set(run, {
				input,
				shard,
				fileOffset: begin,
				byteLength: length,
				slotOffset: at,
				wanted: { begin: fileOffset, end: fileOffset + byteLength },
			});
			at += length;
		}
		for (const { run, fileOffset, place } of this.places) {
			const read = reads.get(run) as Read;
			place.slotOffset = read.slotOffset + fileOffset - read.fileOffset;
		}
		this.laidOut = { reads: [...reads.values()], byteLength: at };
		return this.laidOut;
	}
}

/** The next multiple of `alignment`. */
export function alignUp(value: number, alignment: number): number {
	return Math.ceil(value / alignment) * alignment;
}
