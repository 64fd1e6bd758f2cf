import { FormatError } from "../errors.ts";

/** So many bytes of a file's end hold its end records, and a comment where there is one. */
export const ZIP_TAIL_BYTES = 22 + 0xffff + 20 + 56;
/** More than a pickle can name; these bound memory and time on a hostile file. */
const MAX_DIRECTORY_BYTES = 64_000_000;
const MAX_RECORDS = 100_000;
const [END_BYTES, LOCATOR_BYTES, END64_BYTES] = [22, 20, 56];
const SIGNATURE = {
	end: 0x06054b50,
	end64: 0x06064b50,
	locator: 0x07064b50,
} as const;

/** What to do about an archive that torch may read, but two readers could understand differently. */
export const RESAVE =
	"Save it again with torch.save, in a trusted place where torch reads it";
/** What to do about an archive that breaks its format. */
export const DAMAGED_ZIP =
	"The file is damaged, cut short or made to deceive: get it again";

/** Where a zip archive's directory lies, as its end records say. */
export interface ZipEnd {
	entryCount: number;
	directoryOffset: number;
	directoryBytes: number;
}

/**
 * Parse the end records of a zip archive: the last bytes of the file, with nothing behind them.
 *
 * @param tail       the last {@link ZIP_TAIL_BYTES} bytes of the file, or all of it
 * @param fileBytes  length of the whole file
 * @param where      the file, for messages
 * @throws {FormatError} where they are absent, lie, or are not the last bytes
 */
export function parseZipEnd(
	tail: Uint8Array,
	fileBytes: number,
	where: string,
): ZipEnd {
	const view = viewOf(tail);
	const tailOffset = fileBytes - tail.length;
	const at = tail.length - END_BYTES;
	if (at < 0 || view.getUint32(at, true) !== SIGNATURE.end)
		throw noEndRecord(view, tailOffset, where);
	const end = {
		entryCount: view.getUint16(at + 10, true),
		directoryBytes: view.getUint32(at + 12, true),
		directoryOffset: view.getUint32(at + 16, true),
	};
	const fault = (what: string, byte: number) =>
		new FormatError({
			...{ where: `${where}, byte ${tailOffset + byte}`, what },
			remedy: DAMAGED_ZIP,
		});
	if (view.getUint16(at + 20, true) !== 0)
		throw fault("the zip archive's comment is cut short", at);
	const disks = view.getUint32(at + 4, true);
	if (disks !== 0 && disks !== 0xffffffff)
		throw fault("a zip archive in several parts", at);
	const found = parseEnd64(view, tailOffset, at, end, fault);
	const { directoryOffset, directoryBytes, entryCount, endOffset } = found;
	if (directoryOffset + directoryBytes !== endOffset)
		throw new FormatError({
			where: `${where}, byte ${endOffset}`,
			what: "the zip directory does not end where its end record begins",
			expected: `${directoryOffset} + ${directoryBytes} = ${endOffset}`,
			remedy: DAMAGED_ZIP,
		});
	if (view.getUint16(at + 8, true) !== view.getUint16(at + 10, true))
		throw fault("the zip end record counts its entries in two ways", at);
	if (directoryBytes > MAX_DIRECTORY_BYTES)
		throw fault(
			`a zip directory of more than ${MAX_DIRECTORY_BYTES} bytes`,
			at,
		);
	if (entryCount > MAX_RECORDS)
		throw fault(`more than ${MAX_RECORDS} records in the zip archive`, at);
	if (entryCount === 0) throw fault("the zip archive is empty", at);
	return { directoryOffset, directoryBytes, entryCount };
}

type Fault = (what: string, byte: number) => FormatError;

/** The 64-bit end record, where its locator says there is one; it must agree with the short one. */
function parseEnd64(
	view: DataView,
	tailOffset: number,
	at: number,
	end: ZipEnd,
	fault: Fault,
): ZipEnd & { endOffset: number } {
	const locator = at - LOCATOR_BYTES;
	if (locator < 0 || view.getUint32(locator, true) !== SIGNATURE.locator)
		return { ...end, endOffset: tailOffset + at };
	const record = locator - END64_BYTES;
	if (
		record < 0 ||
		view.getBigUint64(locator + 8, true) !== BigInt(tailOffset + record) ||
		view.getUint32(record, true) !== SIGNATURE.end64 ||
		view.getBigUint64(record + 4, true) !== BigInt(END64_BYTES - 12)
	)
		throw fault("the zip64 locator does not lead to its end record", locator);
	if (
		view.getUint32(locator + 4, true) !== 0 ||
		view.getUint32(locator + 16, true) > 1 ||
		view.getBigUint64(record + 16, true) !== 0n
	)
		throw fault("a zip archive in several parts", record);
	const long = (byte: number) => {
		const value = Number(view.getBigUint64(record + byte, true));
		if (Number.isSafeInteger(value)) return value;
		throw fault("a number beyond 2^53 in the zip64 end record", record);
	};
	const end64 = {
		entryCount: long(32),
		directoryBytes: long(40),
		directoryOffset: long(48),
	};
	const agrees =
		long(24) === end64.entryCount &&
		[end64.entryCount, 0xffff].includes(end.entryCount) &&
		[end64.directoryBytes, 0xffffffff].includes(end.directoryBytes) &&
		[end64.directoryOffset, 0xffffffff].includes(end.directoryOffset);
	if (!agrees) throw fault("the two zip end records disagree", record);
	return { ...end64, endOffset: tailOffset + record };
}

function noEndRecord(
	view: DataView,
	tailOffset: number,
	where: string,
): FormatError {
	for (let at = view.byteLength - END_BYTES - 1; at >= 0; at--)
		if (view.getUint32(at, true) === SIGNATURE.end)
			return new FormatError({
				where: `${where}, byte ${tailOffset + at + END_BYTES}`,
				what: "bytes behind the zip archive's end record, or a comment in it",
				remedy: `No weights lie there, but what does is hidden from torch. ${RESAVE}`,
			});
	return new FormatError({
		where,
		what: "a zip archive with no end record",
		remedy: "An incomplete download? Get the file again",
	});
}

export function viewOf(bytes: Uint8Array): DataView {
	return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
