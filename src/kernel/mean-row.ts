import { elementByteLength, type FloatDtype } from "../tensor/dtype.ts";
import { READ_ELEMENT } from "../tensor/element.ts";

const LEVELS = 4;
/** torch sums so many columns side by side (four vectors of AVX2), and those that are left another way. */
const WIDE_COLUMNS = 32;
/** Of those that are left, so many rows at once. */
const ROWS_AT_ONCE = 4;

/**
 * The mean of a tensor's rows in binary32, to the bit what torch's `mean(dim=0)` gives: its cascade sum,
 * then one division. Rows come in pieces, so that one pass over the tensor is enough and only a few rows
 * are kept.
 *
 * Source: `cascade_sum` in aten/src/ATen/native/cpu/SumKernel.cpp, torch 2.13; the same for any number of
 * threads. With AVX-512 torch takes 64 columns at once, which makes no difference to LLaMA's widths: all are
 * multiples of 64.
 */
export class MeanRow {
	private readonly dtype: FloatDtype;
	private readonly rows: number;
	private readonly columns: number;
	private readonly wideColumns: number;
	private readonly wide: Cascade;
	private readonly narrow: Cascade;
	private readonly row: Float32Array;
	/** the next rows of the columns that are left, `ROWS_AT_ONCE` after one another */
	private readonly group: Float32Array;
	private rowsSoFar = 0;

	/** @param rows  how many will come */
	constructor(dtype: FloatDtype, rows: number, columns: number) {
		this.dtype = dtype;
		this.rows = rows;
		this.columns = columns;
		this.wideColumns = columns - (columns % WIDE_COLUMNS);
		const left = columns - this.wideColumns;
		this.wide = new Cascade(rows, this.wideColumns);
		this.narrow = new Cascade(
			Math.floor(rows / ROWS_AT_ONCE),
			left * ROWS_AT_ONCE,
		);
		this.row = new Float32Array(columns);
		this.group = new Float32Array(left * ROWS_AT_ONCE);
	}

	/** Take the next rows. @param bytes  whole rows of `columns` elements */
	add(bytes: Uint8Array): void {
		const step = elementByteLength(this.dtype);
		const rowBytes = this.columns * step;
		if (bytes.length % rowBytes !== 0)
			throw new RangeError(`${bytes.length} bytes are no whole rows`);
		const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
		const read = READ_ELEMENT[this.dtype];
		for (let at = 0; at < bytes.length; at += rowBytes) {
			// F64 is rounded to binary32 as it is stored in the row.
			for (let i = 0; i < this.columns; i++)
				this.row[i] = read(view, at + i * step);
			this.addRow();
		}
	}

	/** @returns `columns` numbers, after the last row */
	finish(): Float32Array {
		if (this.rowsSoFar !== this.rows)
			throw new RangeError(`${this.rowsSoFar} rows of ${this.rows}`);
		const left = this.columns - this.wideColumns;
		const partial = this.narrow.finish();
		const sums = partial.subarray(0, left);
		const lastRows = this.group.subarray(0, left * (this.rows % ROWS_AT_ONCE));
		for (const each of [lastRows, partial.subarray(left)])
			for (let at = 0; at < each.length; at += left)
				addInto(sums, each.subarray(at, at + left));
		const mean = new Float32Array(this.columns);
		mean.set(this.wide.finish());
		mean.set(sums, this.wideColumns);
		return mean.map((sum) => sum / this.rows);
	}

	private addRow(): void {
		this.wide.add(this.row.subarray(0, this.wideColumns));
		const place = this.rowsSoFar % ROWS_AT_ONCE;
		const left = this.columns - this.wideColumns;
		this.group.set(this.row.subarray(this.wideColumns), place * left);
		if (place === ROWS_AT_ONCE - 1) this.narrow.add(this.group);
		this.rowsSoFar++;
	}
}

/** Sums rows so that blocks are summed first, and blocks of blocks after. */
class Cascade {
	private readonly levelPower: number;
	private readonly levels: readonly Float32Array[];
	private rowsSoFar = 0;

	constructor(rows: number, width: number) {
		const power = Math.floor(Math.ceil(Math.log2(Math.max(rows, 1))) / LEVELS);
		this.levelPower = Math.max(4, power);
		this.levels = Array.from({ length: LEVELS }, () => new Float32Array(width));
	}

	add(row: Float32Array): void {
		addInto(this.levels[0] as Float32Array, row);
		this.rowsSoFar++;
		const block = 2 ** this.levelPower;
		// Where a block is whole it goes to the next level, and that to the one after where it is whole too.
		for (
			let level = 1, blocks = this.rowsSoFar / block;
			level < LEVELS && Number.isInteger(blocks);
			level++, blocks /= block
		) {
			const below = this.levels[level - 1] as Float32Array;
			addInto(this.levels[level] as Float32Array, below);
			below.fill(0);
		}
	}

	finish(): Float32Array {
		const [first, ...others] = this.levels as [Float32Array, ...Float32Array[]];
		for (const level of others) addInto(first, level);
		return first;
	}
}

/** Each sum is rounded to binary32. */
function addInto(sums: Float32Array, row: Float32Array): void {
	for (let i = 0; i < sums.length; i++)
		sums[i] = (sums[i] as number) + (row[i] as number);
}
