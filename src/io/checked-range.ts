import { FormatError } from "../errors.ts";

/** Bytes `[begin, end)` of a file, and the CRC-32 they must have. */
export interface CheckedRange {
	/** file and record, for messages */
	where: string;
	begin: number;
	end: number;
	crc32: number;
}

/** The error of bytes with another CRC-32 than they must have. */
export function wrongCrc(
	where: string,
	expected: number,
	found: number,
): FormatError {
	const hex = (crc: number) => crc.toString(16).padStart(8, "0");
	return new FormatError({
		where,
		what: "its bytes are not those that were written: the CRC-32 differs",
		expected: hex(expected),
		found: hex(found),
		remedy: "The file is damaged: get it again",
	});
}
