import { crc32 } from "node:zlib";
import {
	checkHeaderOffsets,
	checkZipRecords,
	localHeaderBytes,
	parseLocalHeader,
	parseZipDirectory,
	type ZipRecord,
} from "../format/zip.ts";
import { parseZipEnd, ZIP_TAIL_BYTES } from "../format/zip-end.ts";
import type { ByteSource } from "../io/byte-source.ts";
import { wrongCrc } from "../io/checked-range.ts";

/**
 * Find the records of a zip archive. Reads its end, its directory and the records' headers.
 *
 * @param where  the file, for messages
 * @throws {FormatError} where it is not laid out as torch does
 */
export async function readZipRecords(
	source: ByteSource,
	where: string,
): Promise<ZipRecord[]> {
	const { byteLength } = source;
	const tailBytes = Math.min(ZIP_TAIL_BYTES, byteLength);
	const tail = await readBytes(source, byteLength - tailBytes, tailBytes);
	const end = parseZipEnd(tail, byteLength, where);
	const directory = await readBytes(
		...([source, end.directoryOffset, end.directoryBytes] as const),
	);
	const entries = parseZipDirectory(directory, end, where);
	checkHeaderOffsets(entries, end, where);
	// Asked for at once, because each may be far away.
	const headers = await Promise.all(
		entries.map((entry) =>
			readBytes(source, entry.headerOffset, localHeaderBytes(entry)),
		),
	);
	const records = entries.map((entry, i) =>
		parseLocalHeader(headers[i] as Uint8Array, entry, where),
	);
	checkZipRecords(records, end, where);
	return records;
}

/**
 * Read a record whole.
 *
 * @param isChecked  false where the archive was written without CRCs
 * @throws {FormatError} where its CRC-32 is another
 */
export async function readRecord(
	source: ByteSource,
	record: ZipRecord,
	isChecked: boolean,
	where: string,
): Promise<Uint8Array> {
	const { dataOffset, byteLength, name } = record;
	const bytes = await readBytes(source, dataOffset, byteLength);
	const found = crc32(bytes);
	if (isChecked && found !== record.crc32)
		throw wrongCrc(recordPlace(where, name), record.crc32, found);
	return bytes;
}

/** A record of a file, for messages. */
export function recordPlace(where: string, name: string): string {
	return `${where}, record ${JSON.stringify(name)}`;
}

async function readBytes(
	source: ByteSource,
	fileOffset: number,
	byteLength: number,
): Promise<Uint8Array> {
	const bytes = new Uint8Array(byteLength);
	await source.read(fileOffset, bytes);
	return bytes;
}
