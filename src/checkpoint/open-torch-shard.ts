import { FormatError } from "../errors.ts";
import { MAX_PICKLE_BYTES, parsePickleAt } from "../format/pickle.ts";
import { PickleEndsEarly } from "../format/pickle-value.ts";
import {
	isContiguous,
	type PlacedTensor,
	placeTensors,
	type StoragePlace,
	type TorchTensors,
} from "../format/torch.ts";
import {
	checkTorchArchive,
	hasNoChecksums,
	parseTorchArchive,
} from "../format/torch-archive.ts";
import {
	checkLegacyEnd,
	LEGACY_LENGTH_BYTES,
	type LegacyHead,
	parseLegacyHead,
	placeLegacyStorage,
} from "../format/torch-legacy.ts";
import { storageBytes } from "../format/torch-values.ts";
import type { ZipRecord } from "../format/zip.ts";
import type { CheckedRange } from "../io/checked-range.ts";
import { DIRECT_ALIGNMENT } from "../io/direct-io.ts";
import type { FileSource } from "../io/file-source.ts";
import { DTYPES } from "../tensor/dtype.ts";
import type { ShardContent, ShardTensor } from "./checkpoint.ts";
import { readRecord, readZipRecords, recordPlace } from "./read-zip.ts";
import { type PlacedView, TorchSource } from "./torch-source.ts";

/** The pickles of most files fit; longer ones are read again, eight times as far. */
const FIRST_HEAD_BYTES = 2 ** 17;

/**
 * Open a torch checkpoint as torch writes it since 1.6: a zip archive. Reads its directory, its pickle
 * and its small records, whose CRCs are checked; those of the storages are, when they are read.
 *
 * @throws {FormatError} where it is malformed, unsafe, or holds no state dict
 */
export async function openTorchArchive(
	file: FileSource,
): Promise<ShardContent> {
	const where = file.path;
	const records = await readZipRecords(file, where);
	const archive = parseTorchArchive(records, where);
	const { pickle, version, byteorder, storages, others } = archive;
	const isChecked = !hasNoChecksums(records);
	const read = (record: ZipRecord) =>
		readRecord(file, record, isChecked, where);
	checkTorchArchive(
		await read(version),
		byteorder ? await read(byteorder) : null,
		where,
	);
	for (const record of others) await read(record);
	const at = recordPlace(where, pickle.name);
	if (pickle.byteLength > MAX_PICKLE_BYTES)
		throw new FormatError({
			where: at,
			what: "the pickle is too long; nothing was executed",
			expected: `at most ${MAX_PICKLE_BYTES} bytes`,
			found: `${pickle.byteLength}`,
		});
	const parsed = parsePickleAt(await read(pickle), at, {});
	const places = new Map<string, StoragePlace>();
	for (const [key, { dataOffset: fileOffset, byteLength }] of storages)
		places.set(key, { fileOffset, byteLength });
	const tensors = placeTensors(parsed, places, where);
	const ranges = isChecked ? rangesOf(storages.values(), where) : [];
	const content = presentTensors(file, tensors, ranges);
	return { ...content, warnings: [...archive.warnings, ...tensors.warnings] };
}

/**
 * Open a torch checkpoint as torch wrote it before 1.6: pickles one behind the other, then the storages.
 * Such a file holds no checksum.
 *
 * @throws {FormatError} where it is malformed, unsafe, or holds no state dict
 */
export async function openLegacyTorch(file: FileSource): Promise<ShardContent> {
	const where = file.path;
	const head = await readLegacyHead(file, where);
	const lengths = await readLegacyLengths(file, head);
	const places = new Map<string, StoragePlace>();
	let at = head.byteLength;
	for (const [i, storage] of head.storages.entries()) {
		const length = lengths[i] as Uint8Array;
		const place = placeLegacyStorage(
			...([storage, length, at, file.byteLength, where] as const),
		);
		places.set(storage.key, place);
		at = place.fileOffset + place.byteLength;
	}
	checkLegacyEnd(at, file.byteLength, where);
	return presentTensors(file, placeTensors(head.pickle, places, where), []);
}

/** The lengths before all storages, from where the pickle says they are; zeros for what would lie behind the end. */
async function readLegacyLengths(
	file: FileSource,
	{ storages, byteLength }: LegacyHead,
): Promise<Uint8Array[]> {
	let at = byteLength;
	const reads: Promise<Uint8Array>[] = [];
	for (const storage of storages) {
		const length = new Uint8Array(LEGACY_LENGTH_BYTES);
		const isThere = at + length.length <= file.byteLength;
		reads.push(
			(isThere ? file.read(at, length) : Promise.resolve()).then(() => length),
		);
		at += length.length + (storageBytes(storage) ?? Infinity);
	}
	return Promise.all(reads);
}

/** Read as much of the start as the pickles turn out to need. */
async function readLegacyHead(
	file: FileSource,
	where: string,
): Promise<LegacyHead> {
	const most = Math.min(file.byteLength, 2 * MAX_PICKLE_BYTES);
	for (let wanted = FIRST_HEAD_BYTES; ; wanted *= 8) {
		const bytes = new Uint8Array(Math.min(wanted, most));
		await file.read(0, bytes);
		try {
			return parseLegacyHead(bytes, where);
		} catch (error) {
			if (!(error instanceof PickleEndsEarly) || wanted >= most) throw error;
		}
	}
}

function rangesOf(
	storages: Iterable<ZipRecord>,
	where: string,
): CheckedRange[] {
	return Array.from(storages, ({ name, dataOffset, byteLength, crc32 }) => ({
		where: recordPlace(where, name),
		begin: dataOffset,
		end: dataOffset + byteLength,
		crc32,
	}))
		.filter(({ begin, end }) => end > begin)
		.sort((a, b) => a.begin - b.begin);
}

/** Give each tensor one stretch of bytes: in the file where it lies there so, behind its end where not. */
function presentTensors(
	file: FileSource,
	{ tensors, warnings }: TorchTensors,
	ranges: readonly CheckedRange[],
): ShardContent {
	const views: PlacedView[] = [];
	const readOffsets = new Map<string, number>();
	let end = file.byteLength;
	const presented = tensors.map((tensor): ShardTensor => {
		if (isContiguous(tensor)) return withoutStride(tensor, tensor.fileOffset);
		const known = readOffsets.get(tensor.tiedTo ?? "");
		if (tensor.tiedTo !== undefined && known !== undefined)
			return withoutStride(tensor, known);
		const readOffset = Math.ceil(end / DIRECT_ALIGNMENT) * DIRECT_ALIGNMENT;
		const elementBytes = DTYPES[tensor.dtype].bits / 8;
		readOffsets.set(tensor.name, readOffset);
		views.push({ ...tensor, readOffset, elementBytes });
		end = readOffset + tensor.byteLength;
		return withoutStride(tensor, readOffset);
	});
	const source = new TorchSource(file, views, ranges);
	return { source, tensors: presented, warnings };
}

function withoutStride(tensor: PlacedTensor, fileOffset: number): ShardTensor {
	const { name, dtype, shape, byteLength, tiedTo } = tensor;
	const placed = { name, dtype, shape, fileOffset, byteLength };
	return tiedTo === undefined ? placed : { ...placed, tiedTo };
}
