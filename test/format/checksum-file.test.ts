import fc from "fast-check";
import { expect, test } from "vitest";
import { FormatError } from "../../src/errors.ts";
import {
	encodeChecksumFile,
	parseChecksumFile,
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
