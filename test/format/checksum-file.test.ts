import fc from "fast-check";
import { expect, test } from "vitest";
import { FormatError } from "../../src/errors.ts";
import {
	encodeChecksumFile,
	parseChecksumFile,
	toldName,
} from "../../src/format/checksum-file.ts";

const parse = (text: string) => parseChecksumFile(text, "SHA256SUMS");
const ZEROS = "0".repeat(64);

test("what is written is read, odd names included", () => {
	const name = fc
		.string({
			minLength: 1,
			unit: fc.constantFrom("a", " ", "\n", "\r", "\\", "*", "é", ")"),
		})
		.filter((text) => !text.startsWith("\\"));
	fc.assert(
		fc.property(fc.uniqueArray(name), (names) => {
			const entries = names.map((n) => ({ name: n, sha256: ZEROS }));
			const { entries: read, malformedLines } = parse(
				encodeChecksumFile(entries),
			);
			expect(malformedLines).toEqual([]);
			expect(read.map((e) => e.name).sort()).toEqual([...names].sort());
		}),
	);
});

test.each([
	["../x", "out"],
	["a/../../x", "out"],
	["/etc/passwd", "out"],
	["C:\\x", "out"],
	["\\\\host\\x", "out"],
])("a name such as %s is refused", (name) => {
	expect(() => parse(`${ZEROS}  ${name}\n`)).toThrow(FormatError);
});

test("lines that are no checksum are counted from 1", () => {
	expect(parse(`# c\n\n${ZEROS}  a\nwhat\n${ZEROS} b\n`)).toEqual({
		entries: [{ name: "a", checksum: ZEROS }],
		malformedLines: [4, 5],
	});
});

test("a name twice is accepted only with one checksum", () => {
	const line = (digit: string) => `${digit.repeat(64)}  a\n`;
	expect(parse(line("0") + line("0")).entries).toHaveLength(1);
	expect(() => parse(line("0") + line("1"))).toThrow(
		/line 2: a second, different checksum of "a"/,
	);
});

test.each([
	["MD5", `${"0".repeat(32)}  a`, "found 32"],
	["MD5 of a name that is escaped", `\\${"0".repeat(32)}  a\\n`, "found 32"],
	["SHA-512", `${"0".repeat(128)} *a`, "found 128"],
	["another algorithm's BSD line", `MD5 (a) = ${"0".repeat(32)}`, "found MD5"],
])("%s is no SHA-256", (_, line, says) => {
	expect(() => parse(line)).toThrow(FormatError);
	expect(() => parse(line)).toThrow(says);
});

test("lines that only look like checksums are counted", () => {
	const lines = [`\\${ZEROS}  a\\x`, `SHA256 (a) = 00`, `\\${ZEROS}  a\\`];
	expect(parse(lines.join("\n"))).toEqual({
		...{ entries: [], malformedLines: [1, 2, 3] },
	});
});

test("BSD's reversed lines are read where the first is one, and not mixed with others", () => {
	expect(parse(`${ZEROS} a\n${ZEROS}  b\n${ZEROS} c`)).toEqual({
		entries: ["a", " b", "c"].map((name) => ({ name, checksum: ZEROS })),
		malformedLines: [],
	});
	expect(parse(`${ZEROS} *a\n${ZEROS} c`).malformedLines).toEqual([2]);
});

test("BSD lines are read, with and without blanks", () => {
	const lines = [`SHA256 (a) = ${ZEROS}`, `SHA256(b)= ${ZEROS}`];
	const names = parse(lines.join("\n")).entries.map(({ name }) => name);
	expect(names).toEqual(["a", "b"]);
});

test("MD5 is read where it is asked for, and then alone", () => {
	const md5 = (text: string) => parseChecksumFile(text, "MD5SUMS", "md5");
	const sum = "A".repeat(32);
	const lines = [`${sum}  a`, `MD5 (b) = ${sum}`];
	expect(md5(lines.join("\n")).entries).toEqual(
		["a", "b"].map((name) => ({ name, checksum: sum.toLowerCase() })),
	);
	expect(() => md5(`${ZEROS}  a`)).toThrow("--algorithm sha256");
});

test("a name with an end of line is told as sha256sum tells it", () => {
	expect(["a\\b", "a\nb"].map(toldName)).toEqual(["a\\b", "\\a\\nb"]);
});
