import { FormatError } from "../errors.ts";

const ZIP64 = 1;
const ABSENT = 0xffffffff;

/**
 * The numbers of a directory entry that do not fit 32 bits: those that read 0xffffffff stand, in their
 * order, as 64 bits each in the extra field of kind 1.
 *
 * @param values  length, stored length and header offset, as the entry has them
 * @param extra   the entry's extra fields
 * @returns the same three numbers, whole
 * @throws {FormatError} where one is missing or beyond 2^53 − 1, or the fields are malformed
 */
export function parseZipExtra64(
	values: readonly number[],
	extra: Uint8Array,
	where: string,
): number[] {
	const fault = (what: string) =>
		new FormatError({
			...{ where, what },
			remedy: "The file is damaged or made to deceive: get it again",
		});
	const view = new DataView(extra.buffer, extra.byteOffset, extra.byteLength);
	const found: DataView[] = [];
	for (let at = 0; at < extra.length; ) {
		const header = at + 4 <= extra.length;
		const byteLength = header ? view.getUint16(at + 2, true) : 0;
		if (!header || at + 4 + byteLength > extra.length)
			throw fault("malformed extra fields");
		if (view.getUint16(at, true) === ZIP64)
			found.push(
				new DataView(extra.buffer, extra.byteOffset + at + 4, byteLength),
			);
		at += 4 + byteLength;
	}
	if (found.length > 1) throw fault("two zip64 fields");
	let at = 0;
	return values.map((value) => {
		if (value !== ABSENT) return value;
		const field = found[0];
		if (!field || at + 8 > field.byteLength)
			throw fault("a zip64 field lacks a number");
		const long = Number(field.getBigUint64(at, true));
		at += 8;
		if (!Number.isSafeInteger(long)) throw fault("a number beyond 2^53");
		return long;
	});
}
