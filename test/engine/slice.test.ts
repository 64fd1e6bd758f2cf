import fc from "fast-check";
import { expect, test } from "vitest";
import {
	type AddSegment,
	type OutputShard,
	type Segment,
	spansOf,
} from "../../src/delta/plan.ts";
import { ShardCutter, type Slice } from "../../src/engine/slice.ts";
import { headerBytes } from "../../src/format/safetensors-writer.ts";
import { elementByteLength, FLOAT_DTYPES } from "../../src/tensor/dtype.ts";

const SLOT_BYTES = 2 ** 19;

/** A shard whose operands lie in one file each, with holes, some out of order. */
const shards = fc
	.array(
		fc.record({
			op: fc.constantFrom("add" as const, "copy" as const, "xor" as const),
			base: fc.constantFrom(...FLOAT_DTYPES),
			delta: fc.constantFrom(...FLOAT_DTYPES),
			out: fc.constantFrom(...FLOAT_DTYPES),
			count: fc.oneof(fc.nat(20), fc.nat(30_000)),
			hole: fc.constantFrom(0, 0, 1, 70_000),
			file: fc.constantFrom(0, 0, 1),
		}),
		{ maxLength: 12 },
	)
	.map((tensors): OutputShard => {
		const header = "{}      ";
		const width = (t: (typeof tensors)[number]) => elementByteLength(t.out);
		const sorted = [...tensors].sort((a, b) => width(b) - width(a));
		let fileOffset = headerBytes(header).length;
		const ends = [0, 0, 0, 0];
		const segments = sorted.map((tensor, i): Segment => {
			const { op, base, delta, out, count, hole, file } = tensor;
			const span = (input: number, width: number) => {
				const begin = (ends[input * 2 + file] ?? 0) + hole;
				ends[input * 2 + file] = begin + count * width;
				const byteLength = count * width;
				return { input, shard: file, fileOffset: begin, byteLength };
			};
			const byteLength = count * elementByteLength(out);
			const place = { tensor: `${i}`, fileOffset, byteLength };
			fileOffset += byteLength;
			const same = (input: number) => span(input, elementByteLength(out));
			if (op === "copy") return { op, ...place, dtype: out, from: same(1) };
			if (op === "xor") return { op, ...place, base: same(0), delta: same(1) };
			return {
				...{
					op,
					...place,
					spec: { base, delta, cast: null, out, subtract: false },
				},
				base: span(0, elementByteLength(base)),
				delta: span(1, elementByteLength(delta)),
			};
		});
		return {
			...{ fileName: "f", byteLength: fileOffset, header, sha256: null },
			segments,
		};
	});

/** Bytes of an element of the output and of each operand. */
function widthsOf(segment: Segment): [number, ...number[]] {
	if (segment.op === "xor") return [1, 1, 1];
	if (segment.op === "copy") {
		const width = segment.dtype ? elementByteLength(segment.dtype) : 1;
		return [width, width];
	}
	const { base, delta, out } = segment.spec;
	return [out, base, delta].map(elementByteLength) as [number, ...number[]];
}

function cutAll(shard: OutputShard, sliceBytes: number): Slice[] {
	const cutter = new ShardCutter(shard);
	const slices: Slice[] = [];
	while (!cutter.isDone) slices.push(cutter.next(sliceBytes, SLOT_BYTES));
	return slices;
}

test("slices tile the file, in order, at offsets that suit direct I/O", () => {
	fc.assert(
		fc.property(
			shards,
			fc.constantFrom(4096, 65536, 2 ** 22),
			(shard, size) => {
				let at = 0;
				for (const { write } of cutAll(shard, size)) {
					expect(write?.fileOffset).toBe(at);
					expect(at % 4096).toBe(0);
					at += write?.byteLength ?? 0;
				}
				expect(at).toBe(shard.byteLength);
			},
		),
	);
});

test("every output byte comes from the header or from the operands the plan names", () => {
	fc.assert(
		fc.property(
			shards,
			fc.constantFrom(4096, 65536, 2 ** 22),
			(shard, size) => {
				const done = new Map<string, number>();
				let headerBytesSeen = 0;
				for (const { reads, literals, parts, write } of cutAll(shard, size)) {
					for (const { slotOffset, bytes } of literals) {
						expect(slotOffset).toBe(0);
						headerBytesSeen += bytes.length;
					}
					for (const { tensor, operands, out } of parts) {
						const segment = shard.segments[Number(tensor)] as Segment;
						const [outWidth, ...widths] = widthsOf(segment);
						const elements = done.get(tensor) ?? 0;
						const count = out.byteLength / outWidth;
						expect((write?.fileOffset ?? 0) + out.slotOffset).toBe(
							segment.fileOffset + elements * outWidth,
						);
						const spans = spansOf(segment);
						expect(operands).toHaveLength(spans.length);
						for (const [i, span] of spans.entries()) {
							const place = operands[i] ?? { slotOffset: 0, byteLength: 0 };
							const width = widths[i] as number;
							expect(place.byteLength).toBe(count * width);
							const read = reads.find(
								(each) =>
									each.input === span.input &&
									each.shard === span.shard &&
									each.slotOffset <= place.slotOffset &&
									place.slotOffset + place.byteLength <=
										each.slotOffset + each.byteLength,
							);
							expect(
								(read?.fileOffset ?? -1) +
									place.slotOffset -
									(read?.slotOffset ?? 0),
							).toBe(span.fileOffset + elements * width);
						}
						done.set(tensor, elements + count);
					}
				}
				expect(headerBytesSeen).toBe(headerBytes(shard.header ?? "").length);
				for (const segment of shard.segments)
					expect((done.get(segment.tensor) ?? 0) * widthsOf(segment)[0]).toBe(
						segment.byteLength,
					);
			},
		),
	);
});

test("output and operands fit the slot and do not overlap; long reads suit direct I/O", () => {
	fc.assert(
		fc.property(
			shards,
			fc.constantFrom(4096, 65536, 2 ** 22),
			(shard, size) => {
				for (const { reads, write } of cutAll(shard, size)) {
					let end = write?.byteLength ?? 0;
					for (const { slotOffset, fileOffset, byteLength } of reads) {
						expect(slotOffset).toBeGreaterThanOrEqual(end);
						end = slotOffset + byteLength;
						if (byteLength >= 2 ** 16 + 4096)
							for (const each of [slotOffset, fileOffset, byteLength])
								expect(each % 4096).toBe(0);
					}
					expect(end).toBeLessThanOrEqual(SLOT_BYTES);
				}
			},
		),
	);
});

test("tensors that lie side by side are read at once", () => {
	const spec = {
		...({ base: "F16", delta: "F16", cast: null, out: "F16" } as const),
		subtract: false,
	};
	const header = "{}      ";
	const segments = Array.from({ length: 100 }, (_, i): AddSegment => {
		const span = { shard: 0, fileOffset: 500 + 20 * i, byteLength: 20 };
		return {
			...{ op: "add", tensor: `${i}`, spec, byteLength: 20 },
			fileOffset: headerBytes(header).length + 20 * i,
			...{ base: { input: 0, ...span }, delta: { input: 1, ...span } },
		};
	});
	const byteLength = headerBytes(header).length + 2000;
	const shard = { fileName: "f", byteLength, header, sha256: null, segments };
	const [slice, ...more] = cutAll(shard, 4096);
	expect(more).toEqual([]);
	expect(slice?.parts).toHaveLength(100);
	expect(slice?.reads).toHaveLength(2);
});
