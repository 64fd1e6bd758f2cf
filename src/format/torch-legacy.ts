import { FormatError } from "../errors.ts";
import { type ParsedPickle, parsePickleAt } from "./pickle.ts";
import { isKind } from "./pickle-value.ts";
import type { StoragePlace } from "./torch.ts";
import { storageBytes, type TorchStorage } from "./torch-values.ts";

/** A pickle of the number 0x1950a86a20f9469cfc6c, compared as bytes and never computed. */
const MAGIC = Uint8Array.of(
	...[0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46],
	...[0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e],
);
/** A pickle of the number 1001: the only version there was. */
const PROTOCOL = Uint8Array.of(0x80, 0x02, 0x4d, 0xe9, 0x03, 0x2e);
/** Before the data of each storage: its number of elements, as 64 bits. */
export const LEGACY_LENGTH_BYTES = 8;

const REMEDY = "The file is damaged or made to deceive: get it again";

/** What stands before the data in a file of torch's form before 1.6: four pickles, one behind the other. */
export interface LegacyHead {
	pickle: ParsedPickle;
	/** in the order of their data */
	storages: readonly TorchStorage[];
	/** file offset of the first storage's length */
	byteLength: number;
}

/** Whether a file begins as torch wrote them before 1.6. */
export function isLegacyTorch(start: Uint8Array): boolean {
	return startsWith(start, 0, MAGIC);
}

/**
 * Parse what stands before the data: magic number, protocol, system, the object, the storages' keys.
 *
 * @param bytes  the start of the file
 * @param where  the file, for messages
 * @throws {PickleEndsEarly} where `bytes` end before it
 * @throws {FormatError} where it is malformed, unsafe or for another byte order
 */
export function parseLegacyHead(bytes: Uint8Array, where: string): LegacyHead {
	if (!startsWith(bytes, MAGIC.length, PROTOCOL))
		throw new FormatError({
			where: `${where}, byte ${MAGIC.length}`,
			what: "an unknown version of torch's form before 1.6",
			expected: "protocol 1001",
			remedy: REMEDY,
		});
	const next = (byteOffset: number) =>
		parsePickleAt(bytes, where, {
			...{ byteOffset, whole: false, persistentIdItems: 6 },
		});
	const system = next(MAGIC.length + PROTOCOL.length);
	checkSystem(system, where);
	const pickle = next(system.end);
	const list = next(pickle.end);
	return {
		pickle,
		storages: storagesInOrder(list, pickle, where),
		byteLength: list.end,
	};
}

function checkSystem({ value }: ParsedPickle, where: string): void {
	const littleEndian = isKind(value, "dict")
		? value.entries.get("little_endian")
		: undefined;
	if (littleEndian !== true)
		throw new FormatError({
			where,
			what:
				littleEndian === false
					? "its numbers are big-endian"
					: "it does not say its byte order",
			expected: "little_endian: True",
			remedy: "Save it again on a little-endian machine",
		});
}

/** The storages the object names, in the order of the list that follows it: the same ones, each once. */
function storagesInOrder(
	list: ParsedPickle,
	{ storages }: ParsedPickle,
	where: string,
): TorchStorage[] {
	const keys = isKind(list.value, "list") ? list.value.items : [null];
	const found = keys.flatMap((key) => {
		const storage = typeof key === "string" ? storages.get(key) : undefined;
		return storage ? [storage] : [];
	});
	if (
		found.length !== keys.length ||
		found.length !== storages.size ||
		new Set(keys).size !== keys.length
	)
		throw new FormatError({
			where,
			what: "the list of storages is not that of the tensors",
			expected: `${storages.size} keys, each once`,
			found: `${keys.length}, ${found.length} of them known`,
			remedy: REMEDY,
		});
	return found;
}

/**
 * Place a storage in the file.
 *
 * @param length      the {@link LEGACY_LENGTH_BYTES} before its data, at `fileOffset`
 * @param fileBytes   length of the whole file
 * @throws {FormatError} where it is not as long as the pickle says, or longer than the file
 */
export function placeLegacyStorage(
	storage: TorchStorage,
	length: Uint8Array,
	fileOffset: number,
	fileBytes: number,
	where: string,
): StoragePlace {
	const view = new DataView(length.buffer, length.byteOffset);
	const elements = view.getBigInt64(0, true);
	const byteLength = storageBytes(storage);
	const dataOffset = fileOffset + LEGACY_LENGTH_BYTES;
	const left = fileBytes - dataOffset;
	if (
		elements === BigInt(storage.elementCount) &&
		byteLength !== undefined &&
		byteLength <= left
	)
		return { fileOffset: dataOffset, byteLength };
	throw new FormatError({
		where: `${where}, byte ${fileOffset}, storage ${storage.key}`,
		what: "the storage is not as long as it should be",
		expected: `${storage.elementCount} elements`,
		found: `${elements}, and ${left} bytes`,
		remedy: REMEDY,
	});
}

/** @throws {FormatError} where the last storage does not end the file */
export function checkLegacyEnd(
	end: number,
	fileBytes: number,
	where: string,
): void {
	if (end !== fileBytes)
		throw new FormatError({
			where: `${where}, byte ${end}`,
			what: "bytes after the last storage",
			expected: `${end} bytes`,
			found: `${fileBytes}`,
			remedy: REMEDY,
		});
}

function startsWith(
	bytes: Uint8Array,
	byteOffset: number,
	prefix: Uint8Array,
): boolean {
	const found = bytes.subarray(byteOffset, byteOffset + prefix.length);
	return Buffer.compare(found, prefix) === 0;
}
