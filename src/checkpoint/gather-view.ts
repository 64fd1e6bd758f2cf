import type { ByteSource } from "../io/byte-source.ts";

const MAX_WINDOW_BYTES = 2 ** 20;

/** Elements of a file, in the order of a shape that is not theirs there. */
export interface StridedView {
	shape: readonly number[];
	/** elements of the file from one to the next along each dimension */
	stride: readonly number[];
	/** of the first element */
	fileOffset: number;
	elementBytes: number;
}

/** A dimension of a box of elements; the steps count elements. */
interface Dimension {
	count: number;
	sourceStep: number;
	outStep: number;
}

interface Box {
	/** elements from the view's first */
	sourceOffset: number;
	/** elements from the start of the output */
	outOffset: number;
	dimensions: readonly Dimension[];
}

/**
 * Read elements of a view as bytes row by row, as if it had been copied to be contiguous.
 *
 * @param first        number of the first element to read, row by row
 * @param into         whole elements
 * @param windowBytes  so much of the file is in memory at once, and at least one element
 */
export async function gatherView(
	source: ByteSource,
	view: StridedView,
	first: number,
	into: Uint8Array,
	windowBytes = MAX_WINDOW_BYTES,
): Promise<void> {
	const { fileOffset, elementBytes } = view;
	const window = new Uint8Array(windowBytes);
	const pending = boxesOf(view, 0, first, first + into.length / elementBytes);
	for (let box = pending.pop(); box; box = pending.pop()) {
		const extentBytes = extentOf(box) * elementBytes;
		if (extentBytes > window.length) pending.push(...halves(box));
		else {
			const bytes = window.subarray(0, extentBytes);
			await source.read(fileOffset + box.sourceOffset * elementBytes, bytes);
			copyBox(bytes, into, box, elementBytes);
		}
	}
}

/** The elements `[begin, end)` of a view, counted row by row from dimension `depth` on, as boxes. */
function boxesOf(
	view: StridedView,
	depth: number,
	begin: number,
	end: number,
	sourceOffset = 0,
	outOffset = 0,
): Box[] {
	if (begin >= end) return [];
	if (depth === view.shape.length)
		return [{ sourceOffset, outOffset, dimensions: [] }];
	const step = view.stride[depth] ?? 0;
	const rowLength = lengthOf(view, depth + 1);
	/** the part of one row, or rows that are whole */
	const row = (index: number, from: number, to: number, at: number) => {
		const [rowBegin, rowSource] = [index * rowLength, index * step];
		return boxesOf(
			...([view, depth + 1, from - rowBegin, to - rowBegin] as const),
			...([sourceOffset + rowSource, outOffset + at] as const),
		);
	};
	const firstWhole = Math.ceil(begin / rowLength);
	const endWhole = Math.floor(end / rowLength);
	if (firstWhole > endWhole) return row(endWhole, begin, end, 0);
	const [wholeBegin, wholeEnd] = [firstWhole * rowLength, endWhole * rowLength];
	const whole: Box = {
		sourceOffset: sourceOffset + firstWhole * step,
		outOffset: outOffset + wholeBegin - begin,
		dimensions: [
			...[
				{ count: endWhole - firstWhole, sourceStep: step, outStep: rowLength },
			],
			...view.shape.slice(depth + 1).map((count, i) => ({
				count,
				sourceStep: view.stride[depth + 1 + i] ?? 0,
				outStep: lengthOf(view, depth + 2 + i),
			})),
		].filter(({ count }) => count !== 1),
	};
	return [
		...row(firstWhole - 1, begin, wholeBegin, 0),
		...(endWhole > firstWhole ? [whole] : []),
		...row(endWhole, wholeEnd, end, wholeEnd - begin),
	];
}

/** Elements of one row of the dimensions from `depth` on. */
function lengthOf({ shape }: StridedView, depth: number): number {
	return shape.slice(depth).reduce((length, count) => length * count, 1);
}

/** Elements of the file from the first of a box to its last. */
function extentOf({ dimensions }: Box): number {
	return dimensions.reduce(
		(extent, { count, sourceStep }) => extent + (count - 1) * sourceStep,
		1,
	);
}

/** A box cut in two along the dimension that spans most of the file. */
function halves({ sourceOffset, outOffset, dimensions }: Box): Box[] {
	const span = ({ count, sourceStep }: Dimension) => (count - 1) * sourceStep;
	const widest = dimensions.reduce((a, b) => (span(b) > span(a) ? b : a));
	const count = Math.floor(widest.count / 2);
	const withCount = (value: number) =>
		dimensions.map((dimension) =>
			dimension === widest ? { ...dimension, count: value } : dimension,
		);
	return [
		{
			sourceOffset: sourceOffset + count * widest.sourceStep,
			outOffset: outOffset + count * widest.outStep,
			dimensions: withCount(widest.count - count),
		},
		{ sourceOffset, outOffset, dimensions: withCount(count) },
	];
}

function copyBox(
	bytes: Uint8Array,
	into: Uint8Array,
	{ outOffset, dimensions }: Box,
	elementBytes: number,
): void {
	const copy = (depth: number, from: number, to: number): void => {
		const dimension = dimensions[depth];
		if (!dimension) {
			for (let i = 0; i < elementBytes; i++)
				into[to + i] = bytes[from + i] as number;
			return;
		}
		const { count, sourceStep, outStep } = dimension;
		const isRun = sourceStep === 1 && outStep === 1;
		if (isRun) into.set(bytes.subarray(from, from + count * elementBytes), to);
		else
			for (let i = 0; i < count; i++)
				copy(
					depth + 1,
					from + i * sourceStep * elementBytes,
					to + i * outStep * elementBytes,
				);
	};
	copy(0, 0, outOffset * elementBytes);
}
