import { FormatError } from "../errors.ts";
import { DTYPES, type Dtype } from "../tensor/dtype.ts";
import { elementCount, formatShape } from "../tensor/tensor.ts";
import type { ParsedPickle } from "./pickle.ts";
import { findStateDict } from "./torch-state-dict.ts";
import {
	describeStorage,
	storageBytes,
	type TorchStorage,
	type TorchTensor,
} from "./torch-values.ts";

/** Where the bytes of a storage lie in the file. */
export interface StoragePlace {
	fileOffset: number;
	byteLength: number;
}

/** A tensor of a checkpoint, with the place of its elements. */
export interface PlacedTensor {
	name: string;
	dtype: Dtype;
	/** outermost first */
	shape: readonly number[];
	/** file offset of its first element */
	fileOffset: number;
	/** elements from one to the next along each dimension */
	stride: readonly number[];
	/** of all its elements, row by row */
	byteLength: number;
	/** the first tensor of the file with the same elements in the same place */
	tiedTo?: string;
}

/** The tensors of one torch file. */
export interface TorchTensors {
	/** in the order of the pickle */
	tensors: PlacedTensor[];
	warnings: string[];
}

/** Views may repeat elements; more than so many times the file's storages is no model but a bomb. */
const MAX_GROWTH = 4;
/** This much is never too much. */
const FREE_BYTES = 2 ** 20;

/**
 * Place the tensors of a checkpoint in its file.
 *
 * @param pickle   of the checkpoint
 * @param places   of the storages, by key
 * @param where    the file, for messages
 * @throws {FormatError} where there is no state dict in it, or its storages are not what it says
 */
export function placeTensors(
	pickle: ParsedPickle,
	places: ReadonlyMap<string, StoragePlace>,
	where: string,
): TorchTensors {
	let storedBytes = 0;
	for (const storage of pickle.storages.values()) {
		const place = places.get(storage.key);
		checkStorage(storage, place, where);
		storedBytes += place.byteLength;
	}
	const { entries, warnings } = findStateDict(pickle.value, where);
	const ties = new Map<string, string>();
	const tensors: PlacedTensor[] = [];
	let totalBytes = 0;
	for (const [name, tensor] of entries) {
		const { fileOffset } = places.get(tensor.storage.key) as StoragePlace; // checked above
		const placed = placeTensor(name, tensor, fileOffset);
		const tie = tieOf(placed, ties);
		tensors.push(tie === undefined ? placed : { ...placed, tiedTo: tie });
		totalBytes += placed.byteLength;
	}
	checkGrowth(totalBytes, storedBytes, where);
	return { tensors, warnings };
}

function placeTensor(
	name: string,
	tensor: TorchTensor,
	storagePlace: number,
): PlacedTensor {
	const { dtype, shape, stride, storageOffset } = tensor;
	const bytes = DTYPES[dtype].bits / 8;
	const count = elementCount(shape) as number; // checked when the pickle was read
	const fileOffset = storagePlace + (count > 0 ? storageOffset : 0) * bytes;
	return { name, dtype, shape, fileOffset, stride, byteLength: count * bytes };
}

/** Check a storage against its place in the file: it must fill it. */
function checkStorage(
	storage: TorchStorage,
	place: StoragePlace | undefined,
	where: string,
): asserts place is StoragePlace {
	const expected = storageBytes(storage);
	if (place !== undefined && expected === place.byteLength) return;
	throw new FormatError({
		where,
		what:
			place === undefined
				? `storage ${storage.key} is not in the file`
				: `storage ${storage.key} is not as long as it should be`,
		expected: `${expected ?? "more than 2^53"} bytes for ${describeStorage(storage)}`,
		...(place === undefined ? {} : { found: `${place.byteLength}` }),
		remedy: "The file is damaged or made to deceive: get it again",
	});
}

/** The name of the first tensor that lies where this one does, if there is one with elements. */
function tieOf(
	tensor: PlacedTensor,
	ties: Map<string, string>,
): string | undefined {
	if (tensor.byteLength === 0) return undefined;
	const { dtype, fileOffset, shape, stride } = tensor;
	const place = `${dtype} ${fileOffset} ${formatShape(shape)} ${formatShape(stride)}`;
	const first = ties.get(place);
	if (first === undefined) ties.set(place, tensor.name);
	return first;
}

/** @throws {FormatError} where views make far more of the storages than they hold */
function checkGrowth(
	totalBytes: number,
	storedBytes: number,
	where: string,
): void {
	if (totalBytes <= Math.max(MAX_GROWTH * storedBytes, FREE_BYTES)) return;
	throw new FormatError({
		where,
		what: `its tensors are views that repeat what is stored more than ${MAX_GROWTH} times`,
		expected: `at most ${MAX_GROWTH} times ${storedBytes} bytes`,
		found: `${totalBytes}`,
		remedy:
			"If you trust the file, save it again with .contiguous() of every tensor",
	});
}

/** Whether the elements lie one after the other, row by row: bytes as safetensors has them. */
export function isContiguous({ shape, stride }: PlacedTensor): boolean {
	let expected = 1;
	if (shape.includes(0)) return true;
	for (let i = shape.length - 1; i >= 0; i--) {
		const [dimension, step] = [shape[i], stride[i]] as [number, number];
		if (dimension !== 1 && step !== expected) return false;
		expected *= dimension;
	}
	return true;
}
