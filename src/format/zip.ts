import { isUtf8 } from "node:buffer";
import { FormatError } from "../errors.ts";
import { DAMAGED_ZIP, RESAVE, viewOf, type ZipEnd } from "./zip-end.ts";
import { parseZipExtra64 } from "./zip-extra.ts";

const MAX_NAME_BYTES = 4096;
const [ENTRY_BYTES, LOCAL_BYTES] = [46, 30];
const [ENTRY, LOCAL] = [0x02014b50, 0x04034b50];
/** encrypted, patched data, strong encryption, a masked local header */
const REFUSED_FLAGS = 0x1 | 0x20 | 0x40 | 0x2000;
const DEFLATED = 8;

/** A record as the central directory names it, its data not yet located. */
export interface ZipEntry {
	name: string;
	/** of the data, which is stored as it is */
	byteLength: number;
	crc32: number;
	/** file offset of the local header */
	headerOffset: number;
	/** the name's bytes, to compare with the local header's */
	nameBytes: Uint8Array;
}

/** A record with the place of its data. */
export interface ZipRecord extends ZipEntry {
	/** file offset of the data */
	dataOffset: number;
}

/**
 * Parse the central directory. As torch demands, and stricter where two readers could differ: stored
 * records only, no name twice, no encryption, sizes from here alone.
 *
 * @param directory  `end.directoryBytes` bytes from `end.directoryOffset` on
 * @throws {FormatError} with the byte at fault, and the record's name where it has one
 */
export function parseZipDirectory(
	directory: Uint8Array,
	end: ZipEnd,
	where: string,
): ZipEntry[] {
	const entries: ZipEntry[] = [];
	const names = new Set<string>();
	const view = viewOf(directory);
	let at = 0;
	while (at < directory.length) {
		const place = `${where}, byte ${end.directoryOffset + at}`;
		const noEntry = "not an entry of a zip directory";
		if (
			at + ENTRY_BYTES > directory.length ||
			view.getUint32(at, true) !== ENTRY
		)
			throw directoryFault(place, noEntry);
		const [nameLength, extraLength, commentLength] = [28, 30, 32].map((byte) =>
			view.getUint16(at + byte, true),
		) as [number, number, number];
		const next = at + ENTRY_BYTES + nameLength + extraLength + commentLength;
		if (next > directory.length) throw directoryFault(place, noEntry);
		const entry = parseEntry(
			directory.subarray(at, next),
			nameLength,
			extraLength,
			place,
		);
		if (names.has(entry.name))
			throw directoryFault(
				place,
				`two zip records are named ${JSON.stringify(entry.name)}`,
			);
		names.add(entry.name);
		entries.push(entry);
		at = next;
	}
	if (entries.length !== end.entryCount)
		throw new FormatError({
			where: `${where}, byte ${end.directoryOffset}`,
			what: "the zip directory has another number of entries than it says",
			expected: `${end.entryCount}`,
			found: `${entries.length}`,
			remedy: DAMAGED_ZIP,
		});
	return entries;
}

function parseEntry(
	bytes: Uint8Array,
	nameLength: number,
	extraLength: number,
	place: string,
): ZipEntry {
	const view = viewOf(bytes);
	const nameBytes = bytes.subarray(ENTRY_BYTES, ENTRY_BYTES + nameLength);
	const name = parseName(nameBytes, place);
	const record = `${place}, record ${JSON.stringify(name)}`;
	checkStored(view.getUint16(8, true), view.getUint16(10, true), record);
	const extra = bytes.subarray(
		ENTRY_BYTES + nameLength,
		ENTRY_BYTES + nameLength + extraLength,
	);
	const [byteLength, storedBytes, headerOffset] = parseZipExtra64(
		[24, 20, 42].map((byte) => view.getUint32(byte, true)),
		extra,
		record,
	) as [number, number, number];
	if (byteLength !== storedBytes)
		throw new FormatError({
			where: record,
			what: "a stored record with two lengths",
			expected: `${byteLength} bytes`,
			found: `${storedBytes}`,
			remedy: DAMAGED_ZIP,
		});
	if (![0, 0xffff].includes(view.getUint16(34, true)))
		throw directoryFault(record, "a record in another part of the archive");
	const crc32 = view.getUint32(16, true);
	return { name, byteLength, crc32, headerOffset, nameBytes };
}

/** A record's name: plain folders and a file, all inside the archive. */
function parseName(bytes: Uint8Array, place: string): string {
	if (bytes.length > MAX_NAME_BYTES || !isUtf8(bytes))
		throw directoryFault(place, "a record's name is too long or not UTF-8");
	const name = Buffer.from(bytes).toString("utf8");
	const steps = name.split("/");
	if (
		/[\\:\p{Cc}]/u.test(name) ||
		steps.some((step) => step === "" || step === "." || step === "..")
	)
		throw directoryFault(
			place,
			`a record's name ${JSON.stringify(name)} is not that of a file in the archive`,
		);
	return name;
}

/** @throws {FormatError} unless the record is neither encrypted nor compressed */
function checkStored(flags: number, method: number, where: string): void {
	if ((flags & REFUSED_FLAGS) !== 0 || method === 99)
		throw new FormatError({
			where,
			what: "an encrypted or patched record",
			found: `flags 0x${flags.toString(16)}, method ${method}`,
			remedy: `torch reads none either. ${RESAVE}`,
		});
	if (method !== 0)
		throw new FormatError({
			where,
			what: `a ${method === DEFLATED ? "deflated" : "compressed"} record`,
			expected: "a stored one, as torch.save writes",
			found: `method ${method}`,
			remedy: RESAVE,
		});
}

/** How many bytes {@link parseLocalHeader} wants, from `entry.headerOffset` on. */
export function localHeaderBytes(entry: ZipEntry): number {
	return LOCAL_BYTES + entry.nameBytes.length;
}

/**
 * Check a record's local header against its entry and say where its data begin. Lengths and CRC in it
 * are not read: torch leaves them zero.
 *
 * @param header  {@link localHeaderBytes} bytes
 * @throws {FormatError} where it is not the header of this record
 */
export function parseLocalHeader(
	header: Uint8Array,
	entry: ZipEntry,
	where: string,
): ZipRecord {
	const place = `${where}, byte ${entry.headerOffset}, record ${JSON.stringify(entry.name)}`;
	const view = viewOf(header);
	if (view.getUint32(0, true) !== LOCAL)
		throw directoryFault(place, "no zip record where the directory says");
	const name = header.subarray(LOCAL_BYTES);
	if (
		view.getUint16(26, true) !== entry.nameBytes.length ||
		Buffer.compare(name, entry.nameBytes) !== 0
	)
		throw directoryFault(
			place,
			"the record has another name than in the directory",
		);
	checkStored(view.getUint16(6, true), view.getUint16(8, true), place);
	const extraLength = view.getUint16(28, true);
	const dataOffset = entry.headerOffset + header.length + extraLength;
	return { ...entry, dataOffset };
}

/**
 * Check that the local headers may be read at all: each lies before the directory.
 *
 * @throws {FormatError}
 */
export function checkHeaderOffsets(
	entries: readonly ZipEntry[],
	end: ZipEnd,
	where: string,
): void {
	for (const entry of entries)
		if (entry.headerOffset + localHeaderBytes(entry) > end.directoryOffset)
			throw directoryFault(
				`${where}, record ${JSON.stringify(entry.name)}`,
				`its header at byte ${entry.headerOffset} would lie behind the records`,
			);
}

/**
 * Check that the records lie one after the other from the file's first byte on, none over another or
 * over the directory.
 *
 * @throws {FormatError}
 */
export function checkZipRecords(
	records: readonly ZipRecord[],
	end: ZipEnd,
	where: string,
): void {
	const sorted = [...records].sort((a, b) => a.headerOffset - b.headerOffset);
	const first = sorted[0]?.headerOffset;
	if (first !== 0)
		throw directoryFault(
			`${where}, byte 0`,
			`${first} bytes before the zip archive's first record`,
		);
	for (const [i, record] of sorted.entries()) {
		const next = sorted[i + 1]?.headerOffset ?? end.directoryOffset;
		const dataEnd = record.dataOffset + record.byteLength;
		if (dataEnd > next)
			throw new FormatError({
				where: `${where}, byte ${record.dataOffset}, record ${JSON.stringify(record.name)}`,
				what: "the record reaches into what follows it",
				expected: `at most ${next - record.dataOffset} bytes`,
				found: `${record.byteLength}`,
				remedy: DAMAGED_ZIP,
			});
	}
}

function directoryFault(where: string, what: string): FormatError {
	return new FormatError({ where, what, remedy: DAMAGED_ZIP });
}
