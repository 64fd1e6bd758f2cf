import { bringInputs } from "./bring-inputs.ts";
import type { Checkpoint, CheckpointTensor } from "./checkpoint/checkpoint.ts";
import { openCheckpoint } from "./checkpoint/open-checkpoint.ts";
import { eachInSlot } from "./engine/each-in-slot.ts";
import {
	type Engine,
	type ReadingChoices,
	withReadingEngine,
} from "./engine/engine.ts";
import type { Slot } from "./engine/slots.ts";
import {
	cutStretch,
	pieceBytesIn,
	readStretch,
	type Stretch,
} from "./engine/stretch.ts";
import { throwIfAborted } from "./errors.ts";
import { DIRECT_ALIGNMENT } from "./io/direct-io.ts";
import type { FileSource } from "./io/file-source.ts";
import type { Differences } from "./kernel/differences.ts";
import type { FetchChoices } from "./locate.ts";
import { type Dtype, isFloatDtype } from "./tensor/dtype.ts";
import { elementCount, sameShape, type TensorType } from "./tensor/tensor.ts";

export interface CompareOptions extends ReadingChoices, FetchChoices {}

/** A tensor that both models have, of one type, with other elements. */
export interface DifferentTensor {
	tensor: string;
	dtype: Dtype;
	/** of all of it */
	elements: number;
	/** those that have another bit pattern */
	different: number;
	/** how far the farthest two are apart, in units in the last place; null where it is no float type */
	maxUlp: number | null;
}

export interface CompareReport {
	a: string;
	b: string;
	/** true only if both have the same tensors, of the same types, with the same bits */
	same: boolean;
	/** by name, as are all lists here */
	different: DifferentTensor[];
	/** those of one name and another dtype or shape; their elements were not compared */
	otherType: { tensor: string; a: TensorType; b: TensorType }[];
	onlyInA: ({ tensor: string } & TensorType)[];
	onlyInB: ({ tensor: string } & TensorType)[];
	totals: {
		/** compared element by element */
		tensors: number;
		elements: number;
		/** of those elements */
		different: number;
		maxUlp: number;
	};
	warnings: string[];
}

/**
 * Compare the tensors of two models, each in whatever format, bit by bit.
 *
 * @param a  a folder with weights, one weight file, or a repository of the Hub, `org/name[@revision]`
 * @param b  the same
 * @throws as `bringInputs` and `openCheckpoint` do
 */
export async function compare(
	a: string,
	b: string,
	options: CompareOptions = {},
): Promise<CompareReport> {
	const [first, second] = await bringInputs([a, b], options);
	const ofA = await openCheckpoint(first?.path ?? a);
	try {
		const ofB = await openCheckpoint(second?.path ?? b);
		try {
			return { a, b, ...(await compareCheckpoints(ofA, ofB, options)) };
		} finally {
			await ofB.close();
		}
	} finally {
		await ofA.close();
	}
}

async function compareCheckpoints(
	ofA: Checkpoint,
	ofB: Checkpoint,
	options: CompareOptions,
): Promise<Omit<CompareReport, "a" | "b">> {
	const { pairs, ...report } = pairUp(ofA, ofB);
	const differences = await comparePairs([ofA, ofB], pairs, options);
	const totals = { tensors: pairs.length, elements: 0, different: 0 };
	let maxUlp = 0;
	const different: DifferentTensor[] = [];
	for (const { a: tensor } of pairs) {
		const elements = elementCount(tensor.shape) ?? 0;
		totals.elements += elements;
		const found = differences.get(tensor.name);
		if (found === undefined) continue;
		const { name, dtype } = tensor;
		totals.different += found.elements;
		maxUlp = Math.max(maxUlp, found.maxUlp);
		different.push({
			...{ tensor: name, dtype, elements, different: found.elements },
			maxUlp: isFloatDtype(dtype) ? found.maxUlp : null,
		});
	}
	const { onlyInA, onlyInB, otherType } = report;
	const unlike = [different, onlyInA, onlyInB, otherType];
	return {
		same: unlike.every((list) => list.length === 0),
		...{ different, ...report, totals: { ...totals, maxUlp } },
		warnings: [...ofA.warnings, ...ofB.warnings],
	};
}

interface Pair {
	a: CheckpointTensor;
	b: CheckpointTensor;
}

/** What both have of one type, and what they have not. */
function pairUp(
	{ tensors: ofA }: Checkpoint,
	{ tensors: ofB }: Checkpoint,
): Pick<CompareReport, "otherType" | "onlyInA" | "onlyInB"> & {
	pairs: Pair[];
} {
	const typeOf = ({ dtype, shape }: CheckpointTensor) => ({ dtype, shape });
	const named = (tensor: CheckpointTensor) => ({
		...{ tensor: tensor.name, ...typeOf(tensor) },
	});
	const report: ReturnType<typeof pairUp> = {
		...{ pairs: [], otherType: [], onlyInA: [], onlyInB: [] },
	};
	for (const a of sorted(ofA)) {
		const b = ofB.get(a.name);
		if (b === undefined) report.onlyInA.push(named(a));
		else if (a.dtype === b.dtype && sameShape(a.shape, b.shape))
			report.pairs.push({ a, b });
		else report.otherType.push({ tensor: a.name, a: typeOf(a), b: typeOf(b) });
	}
	for (const b of sorted(ofB))
		if (!ofA.has(b.name)) report.onlyInB.push(named(b));
	return report;
}

function sorted(
	tensors: ReadonlyMap<string, CheckpointTensor>,
): CheckpointTensor[] {
	return [...tensors.values()].sort((x, y) => (x.name < y.name ? -1 : 1));
}

/** A stretch of a pair, in whole elements. */
interface PairPiece {
	name: string;
	dtype: Dtype;
	sides: { source: FileSource; stretch: Stretch }[];
}

/** @returns by name, only those that differ */
async function comparePairs(
	checkpoints: readonly [Checkpoint, Checkpoint],
	pairs: readonly Pair[],
	options: CompareOptions,
): Promise<Map<string, Differences>> {
	const bytes = pairs.reduce((sum, { a }) => sum + 2 * a.byteLength, 0);
	const sources = checkpoints.map(({ shards }) => shards.map((s) => s.source));
	const differences = new Map<string, Differences>();
	await withReadingEngine(options, bytes, async (engine) => {
		for (const source of sources.flat())
			await source.chooseReading(engine.options.directIo);
		const roomBytes = roomOf(engine);
		const pieces = cutPairs(pairs, sources, pieceBytesIn(roomBytes));
		await eachInSlot(engine.slots, pieces, async (piece, slot) => {
			throwIfAborted(options.signal, piece.name);
			const found = await comparePiece(piece, engine, slot, roomBytes);
			if (found.elements === 0) return;
			const known = differences.get(piece.name);
			differences.set(piece.name, {
				elements: found.elements + (known?.elements ?? 0),
				maxUlp: Math.max(found.maxUlp, known?.maxUlp ?? 0),
			});
		});
		for (const source of sources.flat()) await source.checkUnchanged();
	});
	return differences;
}

/** Half a slot for either side. */
function roomOf({ slots }: Engine): number {
	const half = slots.slotBytes / 2;
	return half - (half % DIRECT_ALIGNMENT);
}

/** In the order of the first model's files. */
function* cutPairs(
	pairs: readonly Pair[],
	sources: readonly (readonly FileSource[])[],
	pieceBytes: number,
): Generator<PairPiece> {
	const inOrder = [...pairs].sort(
		({ a: x }, { a: y }) =>
			x.shardIndex - y.shardIndex || x.fileOffset - y.fileOffset,
	);
	for (const { a, b } of inOrder) {
		const { name, dtype } = a;
		const [ofA, ofB] = [a, b].map((tensor, i) => ({
			source: sources[i]?.[tensor.shardIndex] as FileSource,
			pieces: cutStretch(tensor, pieceBytes),
		})) as [Side, Side];
		for (const stretch of ofA.pieces)
			yield {
				...{ name, dtype },
				sides: [
					{ source: ofA.source, stretch },
					{ source: ofB.source, stretch: ofB.pieces.next().value as Stretch },
				],
			};
	}
}

interface Side {
	source: FileSource;
	pieces: Generator<Stretch>;
}

async function comparePiece(
	{ dtype, sides }: PairPiece,
	{ crew }: Engine,
	slot: Slot,
	roomBytes: number,
): Promise<Differences> {
	const [a, b] = (await Promise.all(
		sides.map(({ source, stretch }, i) =>
			readStretch(source, stretch, slot, i * roomBytes),
		),
	)) as [number, number];
	const { differences } = await crew.perform({
		...{ kind: "compare", dtype, byteOffsets: [a, b] },
		byteLength: sides[0]?.stretch.byteLength ?? 0,
	});
	return differences;
}
