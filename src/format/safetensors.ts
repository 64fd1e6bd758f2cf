import { FormatError, printable } from "../errors.ts";
import { DTYPES, type Dtype, isDtype } from "../tensor/dtype.ts";
import {
	formatShape,
	type TensorType,
	tensorByteLength,
} from "../tensor/tensor.ts";
import { DAMAGED, JsonScanner } from "./json-scanner.ts";

/** Bytes before the JSON: its length, little-endian. */
export const HEADER_LENGTH_BYTES = 8;
/** The reference refuses a longer JSON. */
export const MAX_HEADER_JSON_BYTES = 100_000_000;
/** Largest models hold half a million tensors in all their shards; this bounds memory on a hostile header. */
const MAX_TENSORS = 1_000_000;
const MAX_NAME_BYTES = 65_536;

/** One entry of a header. */
export interface TensorInfo extends TensorType {
	name: string;
	/** [begin, end) in bytes, relative to the data section */
	dataOffsets: readonly [begin: number, end: number];
}

/** A parsed header. */
export interface Header {
	/** `__metadata__`, or null where there is none */
	metadata: ReadonlyMap<string, string> | null;
	/** in the order of their bytes in the file */
	tensors: readonly TensorInfo[];
	/** 8 + N: file offset of the data section */
	byteLength: number;
	/** what the reader let pass but another may not */
	warnings: readonly string[];
}

/**
 * Length of the JSON of a header, from the first 8 bytes of the file.
 *
 * @param fileBytes length of the whole file
 * @throws {FormatError} where no header of that length can be in the file
 */
export function parseHeaderLength(
	bytes: Uint8Array,
	fileBytes: number,
	where: string,
): number {
	if (bytes.length < HEADER_LENGTH_BYTES)
		throw new FormatError({
			where,
			what: "too short for a safetensors file",
			expected: "at least 8 bytes",
			found: `${bytes.length}`,
			remedy: "An incomplete download? Get the file again",
		});
	const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(
		0,
		true,
	);
	const fault = (what: string, expected: string) =>
		new FormatError({
			where: `${where}, byte 0`,
			what,
			expected,
			found: `${length}`,
			remedy:
				"An incomplete download, or not a safetensors file: get the file again",
		});
	if (length > BigInt(MAX_HEADER_JSON_BYTES))
		throw fault("header length too large", `at most ${MAX_HEADER_JSON_BYTES}`);
	if (Number(length) + HEADER_LENGTH_BYTES > fileBytes)
		throw fault(
			`header longer than the file of ${fileBytes} bytes`,
			`at most ${fileBytes - HEADER_LENGTH_BYTES}`,
		);
	return Number(length);
}

/**
 * Parse the header of a safetensors shard: 8 bytes little-endian `N`, then `N` bytes of JSON.
 * As strict as the reference reader (safetensors 0.8.0), and stricter where two readers could disagree:
 * duplicate names, tensor entries written as arrays, numbers beyond 2^53 − 1.
 *
 * @param bytes      the first `8 + N` bytes of the file
 * @param fileBytes  length of the whole file, so that holes and trailing bytes are refused
 * @param where      the file, for messages
 * @throws {FormatError} with the byte offset or the tensor at fault
 */
export function parseHeader(
	bytes: Uint8Array,
	fileBytes: number,
	where: string,
): Header {
	const jsonLength = parseHeaderLength(bytes, fileBytes, where);
	const byteLength = HEADER_LENGTH_BYTES + jsonLength;
	if (bytes.length < byteLength)
		throw new RangeError(
			`parseHeader needs ${byteLength} bytes, got ${bytes.length}`,
		);
	const json = bytes.subarray(HEADER_LENGTH_BYTES, byteLength);
	if (jsonLength > 0 && json[jsonLength - 1] === 0)
		throw new FormatError({
			where: `${where}, byte ${byteLength - 1}`,
			what: "header padded with NUL bytes",
			expected: "spaces",
			remedy:
				"A known fault of some writers: save the file again with safetensors",
		});
	const scanner = new JsonScanner(json, where, HEADER_LENGTH_BYTES);
	const warnings: string[] = [];
	if (scanner.peek() !== "{") scanner.fail("header is not a JSON object");
	if (scanner.offset !== HEADER_LENGTH_BYTES)
		warnings.push(`${where}: white space before the header`);

	let metadata: Map<string, string> | null = null;
	const tensors: TensorInfo[] = [];
	scanner.object((name, offset) => {
		if (name === "__metadata__") {
			metadata = readMetadata(scanner);
			return;
		}
		if (tensors.length === MAX_TENSORS)
			scanner.fail(`more than ${MAX_TENSORS} tensors in one file`, offset);
		if (Buffer.byteLength(name) > MAX_NAME_BYTES)
			scanner.fail(`tensor name longer than ${MAX_NAME_BYTES} bytes`, offset);
		tensors.push(readTensor(scanner, name, offset, where, warnings));
	});
	scanner.end();
	checkTiling(tensors, byteLength, fileBytes - byteLength, where);
	return { metadata, tensors, byteLength, warnings };
}

function readMetadata(scanner: JsonScanner): Map<string, string> | null {
	if (scanner.peek() === "n") {
		scanner.skip();
		return null;
	}
	const metadata = new Map<string, string>();
	scanner.object((key) => metadata.set(key, scanner.string()));
	return metadata;
}

function readTensor(
	scanner: JsonScanner,
	name: string,
	offset: number,
	where: string,
	warnings: string[],
): TensorInfo {
	let dtype: Dtype | undefined;
	let shape: number[] | undefined;
	let dataOffsets: number[] | undefined;
	const integers = () => {
		const values: number[] = [];
		scanner.array(() => values.push(scanner.integer()));
		return values;
	};
	scanner.object((field, fieldOffset) => {
		if (field === "dtype") {
			const text = scanner.string();
			if (!isDtype(text))
				scanner.fail(`unknown dtype ${JSON.stringify(text)}`, fieldOffset);
			dtype = text;
		} else if (field === "shape") shape = integers();
		else if (field === "data_offsets") dataOffsets = integers();
		else {
			warnings.push(
				`${where}: unknown field "${printable(field)}" of tensor "${printable(name)}" ignored`,
			);
			scanner.skip();
		}
	});
	const quoted = JSON.stringify(name);
	if (dtype === undefined || shape === undefined || dataOffsets === undefined)
		return scanner.fail(
			`tensor ${quoted} lacks dtype, shape or data_offsets`,
			offset,
		);
	const [begin, end] = dataOffsets as number[];
	if (
		begin === undefined ||
		end === undefined ||
		(dataOffsets as number[]).length !== 2 ||
		end < begin
	)
		return scanner.fail(
			`data_offsets of tensor ${quoted} are not [begin, end]`,
			offset,
		);
	const needed = tensorByteLength({ dtype, shape });
	if (needed !== end - begin)
		return scanner.fail(
			`tensor ${quoted} of ${end - begin} bytes does not hold ${dtype} ${formatShape(shape)}`,
			offset,
			needed === undefined
				? "a size in whole bytes below 2^53"
				: `${needed} bytes (${DTYPES[dtype as Dtype].bits} bits an element)`,
		);
	return { name, dtype, shape, dataOffsets: [begin, end] };
}

/** Sort by position and check that the tensors cover the data section once: no hole, overlap or rest. */
function checkTiling(
	tensors: TensorInfo[],
	dataSection: number,
	dataBytes: number,
	where: string,
): void {
	tensors.sort(
		(a, b) =>
			a.dataOffsets[0] - b.dataOffsets[0] ||
			a.dataOffsets[1] - b.dataOffsets[1],
	);
	let previousEnd = 0;
	for (const { name, dataOffsets } of tensors) {
		if (dataOffsets[0] !== previousEnd)
			throw new FormatError({
				where: `${where}, tensor ${JSON.stringify(name)}, byte ${dataSection + dataOffsets[0]}`,
				what:
					dataOffsets[0] < previousEnd
						? "overlaps another tensor"
						: "leaves a hole before it",
				expected: `data_offsets to begin at ${previousEnd}`,
				found: `${dataOffsets[0]}`,
				remedy: DAMAGED,
			});
		previousEnd = dataOffsets[1];
	}
	if (previousEnd !== dataBytes)
		throw new FormatError({
			where: `${where}, byte ${dataSection + Math.min(previousEnd, dataBytes)}`,
			what:
				previousEnd > dataBytes
					? "data is cut short"
					: "bytes after the last tensor",
			expected: `${previousEnd} bytes of data`,
			found: `${dataBytes}`,
			remedy: "An incomplete or damaged download: get the file again",
		});
}
