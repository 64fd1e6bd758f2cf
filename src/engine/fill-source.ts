import type { Fill } from "../delta/plan.ts";
import { throwIfAborted } from "../errors.ts";
import type { ByteSource } from "../io/byte-source.ts";
import { MeanRow } from "../kernel/mean-row.ts";
import { elementByteLength } from "../tensor/dtype.ts";
import type { Engine } from "./engine.ts";

/** Rows of a tensor are read in pieces of about so many bytes. */
const PIECE_BYTES = 2 ** 22;

/**
 * Make a fill readable. A mean costs one pass over its tensor.
 *
 * @param sources  the files of each input of the plan
 */
export async function openFill(
	fill: Fill,
	sources: readonly (readonly ByteSource[])[],
	engine: Engine,
): Promise<ByteSource> {
	const unit =
		fill.kind === "pattern"
			? Uint8Array.from(Buffer.from(fill.element, "hex"))
			: await readMeanRow(fill, sources, engine);
	return new RepeatedSource(unit, fill.byteLength);
}

async function readMeanRow(
	{ of, dtype, rows, columns }: Extract<Fill, { kind: "mean" }>,
	sources: readonly (readonly ByteSource[])[],
	engine: Engine,
): Promise<Uint8Array> {
	const source = sources[of.input]?.[of.shard];
	if (!source)
		throw new RangeError(`no shard ${of.shard} of input ${of.input}`);
	// Before its turn, where it passes.
	const read = (at: number, into: Uint8Array) =>
		source.passing?.readAgain(at, into) ?? source.read(at, into);
	const mean = new MeanRow(dtype, rows, columns);
	const rowBytes = columns * elementByteLength(dtype);
	const piece = new Uint8Array(
		Math.max(1, Math.floor(PIECE_BYTES / rowBytes)) * rowBytes,
	);
	for (let at = 0; at < of.byteLength; at += piece.length) {
		throwIfAborted(engine.options.signal, "mean of the rows");
		const bytes = piece.subarray(0, Math.min(piece.length, of.byteLength - at));
		await read(of.fileOffset + at, bytes);
		mean.add(bytes);
	}
	const row = new DataView(new ArrayBuffer(columns * 4));
	for (const [i, value] of mean.finish().entries())
		row.setFloat32(i * 4, value, true);
	return new Uint8Array(row.buffer);
}

/** Repeating a unit shorter than this would take longer than copying it. */
const LEAST_UNIT_BYTES = 4096;

/** A few bytes, over and over. */
class RepeatedSource implements ByteSource {
	readonly byteLength: number;
	private readonly unit: Uint8Array;

	constructor(unit: Uint8Array, byteLength: number) {
		const times = Math.ceil(LEAST_UNIT_BYTES / unit.length);
		this.unit = Buffer.concat(Array.from({ length: times }, () => unit));
		this.byteLength = byteLength;
	}

	async read(fileOffset: number, into: Uint8Array): Promise<void> {
		for (let done = 0; done < into.length; ) {
			const from = (fileOffset + done) % this.unit.length;
			const bytes = this.unit.subarray(from, from + into.length - done);
			into.set(bytes, done);
			done += bytes.length;
		}
	}
}
