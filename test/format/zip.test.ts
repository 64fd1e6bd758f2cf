import { describe, expect, test } from "vitest";
import { FormatError } from "../../src/errors.ts";
import {
	checkHeaderOffsets,
	checkZipRecords,
	localHeaderBytes,
	parseLocalHeader,
	parseZipDirectory,
	type ZipRecord,
} from "../../src/format/zip.ts";
import { parseZipEnd } from "../../src/format/zip-end.ts";
import { parseZipExtra64 } from "../../src/format/zip-extra.ts";
import { type MadeRecord, zipFile } from "./torch-bytes.ts";

/** All records of an archive in memory. */
function recordsOf(file: Buffer): ZipRecord[] {
	const where = "f.bin";
	const end = parseZipEnd(file, file.length, where);
	const { directoryOffset, directoryBytes } = end;
	const directory = file.subarray(directoryOffset).subarray(0, directoryBytes);
	const entries = parseZipDirectory(directory, end, where);
	checkHeaderOffsets(entries, end, where);
	const records = entries.map((entry) => {
		const header = file.subarray(entry.headerOffset);
		return parseLocalHeader(
			header.subarray(0, localHeaderBytes(entry)),
			...([entry, where] as const),
		);
	});
	checkZipRecords(records, end, where);
	return records;
}

function refusal(file: Buffer): string {
	try {
		recordsOf(file);
	} catch (error) {
		expect(error).toBeInstanceOf(FormatError);
		return (error as Error).message;
	}
	throw new Error("it was accepted");
}

const SOUND: MadeRecord[] = [
	{ name: "a/data.pkl", data: Buffer.from("pickle") },
	{ name: "a/data/0", data: Buffer.from([1, 2, 3, 4]) },
	{ name: "a/empty", data: Buffer.alloc(0) },
];

test.each([true, false])("records are found, zip64: %s", (zip64) => {
	const file = zipFile(SOUND, { zip64 });
	const records = recordsOf(file);
	expect(records.map(({ name }) => name)).toEqual(SOUND.map((r) => r.name));
	for (const [i, { dataOffset, byteLength }] of records.entries())
		expect(file.subarray(dataOffset, dataOffset + byteLength)).toEqual(
			SOUND[i]?.data,
		);
});

/** The sound archive with its second record changed. */
function second(changes: Partial<MadeRecord>): Buffer {
	return zipFile(
		SOUND.map((record, i) => (i === 1 ? { ...record, ...changes } : record)),
	);
}

const WRONG: [string, Buffer, string][] = [
	["no record", zipFile([]), "the zip archive is empty"],
	["junk before", zipFile(SOUND, { before: Buffer.from("#!") }), "2 bytes bef"],
	["junk after", zipFile(SOUND, { after: Buffer.from("x") }), "bytes behind"],
	["a comment", zipFile(SOUND, { comment: "c" }), "or a comment in it"],
	[
		"too many",
		zipFile(SOUND, { entryCount: 0xffff, entryCount64: 100_001 }),
		"more than 100000 records",
	],
	["a wrong count", zipFile(SOUND, { entryCount: 2 }), "expected 2, found 3"],
	["two counts", zipFile(SOUND, { entryCount64: 4 }), "records disagree"],
	[
		"a wrong place of the directory",
		zipFile(SOUND, { directoryOffset: 3 }),
		"end",
	],
	["a directory beyond", zipFile(SOUND, { directoryOffset: 4000 }), "end"],
	["a false locator", zipFile(SOUND, { end64Offset: 1 }), "does not lead"],
	["a name twice", second({ name: "a/data.pkl" }), "two zip records are named"],
	["two names", second({ localName: "a/data/1" }), "another name"],
	[
		"another length of name",
		second({ localName: "a/data/00" }),
		"another name",
	],
	["encryption", second({ flags: 0x801 }), "encrypted or patched"],
	["patched data", second({ flags: 0x20 }), "encrypted or patched"],
	["strong encryption", second({ flags: 0x40 }), "encrypted or patched"],
	["AES", second({ method: 99 }), "encrypted or patched"],
	["deflate", second({ method: 8 }), "a deflated record"],
	["LZMA", second({ method: 14 }), "a compressed record"],
	["two lengths", second({ storedBytes: 3 }), "two lengths"],
	["overlap", second({ byteLength: 60, storedBytes: 60 }), "reaches into"],
	["the header of another", second({ headerOffset: 0 }), "another name"],
	["no header", second({ headerOffset: 7 }), "no zip record where"],
	["a header behind", second({ headerOffset: 2 ** 31 }), "lie behind"],
	["up", second({ name: "a/../b" }), "not that of a file in the archive"],
	["absolute", second({ name: "/a" }), "not that of a file in the archive"],
	["a backslash", second({ name: "a\\b" }), "not that of a file in the arch"],
	["a folder", second({ name: "a/" }), "not that of a file in the archive"],
	["a control character", second({ name: "a/\0b" }), "not that of a file"],
	["no UTF-8", second({ name: "a/\xff" }), "not UTF-8"],
];

test.each(WRONG)("%s is refused", (_, file, says) => {
	expect(refusal(file)).toContain(says);
});

test("an archive that is cut anywhere is refused", () => {
	const file = zipFile(SOUND);
	for (let length = 0; length < file.length; length++)
		expect(refusal(file.subarray(0, length))).toMatch(/no end record|behind/);
});

test("a record that overlaps another through its local header is refused", () => {
	const inner = zipFile([{ name: "a/x", data: Buffer.from("inner") }]);
	const innerHeader = inner.subarray(0, 30 + 3 + 5 + 5);
	const outer = { name: "a/o", data: innerHeader };
	const file = zipFile([
		outer,
		{ name: "a/x", data: Buffer.from("inner"), headerOffset: 30 + 3 + 5 },
	]);
	expect(refusal(file)).toContain("reaches into what follows it");
});

describe("64-bit numbers of an entry", () => {
	const extra = (...values: bigint[]) => {
		const field = Buffer.alloc(4 + values.length * 8);
		field.writeUInt16LE(1, 0);
		field.writeUInt16LE(values.length * 8, 2);
		for (const [i, value] of values.entries())
			field.writeBigUInt64LE(value, 4 + i * 8);
		return field;
	};
	const MANY = 0xffffffff;
	test("stand in the order of those that do not fit", () => {
		expect(parseZipExtra64([1, 2, 3], Buffer.alloc(0), "f")).toEqual([1, 2, 3]);
		const other = Buffer.from([2, 0, 1, 0, 9]);
		const both = Buffer.concat([other, extra(7n)]);
		expect(parseZipExtra64([MANY, 2, 3], both, "f")).toEqual([7, 2, 3]);
		expect(parseZipExtra64([MANY, 2, MANY], extra(2n ** 40n, 5n), "f")).toEqual(
			[2 ** 40, 2, 5],
		);
	});
	test.each([
		[[MANY, 0, 0], Buffer.alloc(0), "lacks a number"],
		[[MANY, MANY, 0], extra(1n), "lacks a number"],
		[[MANY, 0, 0], extra(2n ** 53n), "beyond 2^53"],
		[[MANY, 0, 0], Buffer.concat([extra(1n), extra(2n)]), "two zip64"],
		[[1, 1, 1], extra(1n).subarray(0, 9), "malformed"],
		[[1, 1, 1], Buffer.from([1, 0, 0]), "malformed"],
	])("%j with %s is refused", (values, field, says) => {
		expect(() => parseZipExtra64(values, field, "f")).toThrow(says);
	});
});

test("a directory that would fill the memory is not read", () => {
	const bytes = 64_000_001;
	const end = Buffer.alloc(22);
	end.writeUInt32LE(0x06054b50, 0);
	end.writeUInt16LE(1, 8);
	end.writeUInt16LE(1, 10);
	end.writeUInt32LE(bytes, 12);
	expect(() => parseZipEnd(end, bytes + 22, "f")).toThrow(
		/a zip directory of more than 64000000 bytes/,
	);
});

/** The sound archive with one number of two bytes changed, counted from its end or from its directory. */
function patched(from: "end" | "directory", offset: number, value: number) {
	const file = zipFile(SOUND);
	const directory = file.indexOf("PK\x01\x02", 0, "latin1");
	file.writeUInt16LE(
		value,
		(from === "end" ? file.length : directory) + offset,
	);
	return file;
}

test.each([
	["a comment that is cut", patched("end", -2, 1), "comment is cut short"],
	["several disks", patched("end", -18, 1), "in several parts"],
	["several disks by zip64", patched("end", -26, 2), "in several parts"],
	["a count for each disk", patched("end", -14, 2), "in two ways"],
	["a record on another disk", patched("directory", 34, 1), "another part"],
	["no entry", patched("directory", 0, 0), "not an entry of a zip directory"],
	["a comment beyond", patched("directory", 32, 999), "not an entry of a zip"],
])("%s is refused", (_, file, says) => {
	expect(refusal(file)).toContain(says);
});
