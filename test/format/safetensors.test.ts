import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FormatError } from "../../src/errors.ts";
import {
	parseHeader,
	parseHeaderLength,
} from "../../src/format/safetensors.ts";
import {
	canonicalOrder,
	encodeHeader,
	headerBytes,
} from "../../src/format/safetensors-writer.ts";
import { DTYPES, type Dtype } from "../../src/tensor/dtype.ts";
import { tensorByteLength } from "../../src/tensor/tensor.ts";

/** A file of this header JSON and so many bytes of data. */
function parse(json: string | Uint8Array, dataBytes = 0) {
	const text = Buffer.from(json as string);
	const bytes = Buffer.alloc(8 + text.length);
	bytes.writeBigUInt64LE(BigInt(text.length));
	text.copy(bytes, 8);
	return parseHeader(bytes, bytes.length + dataBytes, "x.safetensors");
}

const entry = (dtype: string, shape: unknown, begin: number, end: number) =>
	`{"dtype":"${dtype}","shape":${JSON.stringify(shape)},"data_offsets":[${begin},${end}]}`;

describe("parseHeader refuses", () => {
	test.each<[string, string, number, RegExp]>([
		[
			"a duplicate name",
			`{"a":${entry("U8", [1], 0, 1)},"a":${entry("U8", [1], 0, 1)}}`,
			1,
			/byte 61: duplicate name "a"/,
		],
		[
			"a duplicate name through an escape",
			`{"a":${entry("U8", [0], 0, 0)},"\\u0061":${entry("U8", [0], 0, 0)}}`,
			0,
			/duplicate name "a"/,
		],
		[
			"a duplicate field",
			'{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
			0,
			/duplicate name "dtype"/,
		],
		[
			"a duplicate metadata key",
			'{"__metadata__":{"k":"1","k":"2"}}',
			0,
			/duplicate name "k"/,
		],
		[
			"a fraction for a dimension",
			'{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}',
			1,
			/not a whole number: 1\.0/,
		],
		[
			"minus zero",
			'{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}',
			0,
			/not a whole number: -0/,
		],
		[
			"an exponent",
			'{"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}}',
			1,
			/not a whole number: 1e0/,
		],
		[
			"a dimension of 2^53",
			'{"a":{"dtype":"U8","shape":[0,9007199254740992],"data_offsets":[0,0]}}',
			0,
			/too large/,
		],
		[
			"a product beyond 2^53",
			'{"a":{"dtype":"U8","shape":[4194305,4194305,2111061],"data_offsets":[0,4]}}',
			4,
			/does not hold/,
		],
		[
			"a tensor written as an array",
			'{"a":["U8",[1],[0,1]]}',
			1,
			/unexpected "\["/,
		],
		["a byte order mark", "\ufeff{}", 0, /not a JSON object/],
		[
			"a lone surrogate",
			`{"\\ud800":${entry("U8", [0], 0, 0)}}`,
			0,
			/lone surrogate/,
		],
		["bytes after the JSON", "{} x", 0, /after the end/],
		["a trailing comma", `{"a":${entry("U8", [0], 0, 0)},}`, 0, /not a string/],
		["a raw control character", '{"\u0001":1}', 0, /raw control character/],
		["a number without end", '{"a":{"shape":[1', 0, /JSON ends early/],
		["JSON that ends early", "{", 0, /not a string/],
		["an object that ends early", '{"a":{}', 0, /lacks dtype/],
		["a header that ends early", '{"__metadata__":{}', 0, /JSON ends early/],
		["a string without end", '{"a', 0, /string without end/],
		["a malformed escape", '{"\\x":1}', 0, /malformed escape/],
		["a value that is none", '{"a":{"x":nil}}', 0, /not a JSON value/],
		["NUL padding", "{}\0\0", 0, /NUL bytes/],
		[
			"an unknown dtype",
			`{"a":${entry("f16", [1], 0, 2)}}`,
			2,
			/unknown dtype "f16"/,
		],
		[
			"a hole",
			`{"a":${entry("U8", [1], 1, 2)}}`,
			2,
			/leaves a hole.*begin at 0, found 1/,
		],
		[
			"an overlap",
			`{"a":${entry("U8", [2], 0, 2)},"b":${entry("U8", [2], 1, 3)}}`,
			3,
			/overlaps/,
		],
		[
			"an empty tensor inside another",
			`{"a":${entry("U8", [2], 0, 2)},"b":${entry("U8", [0], 1, 1)}}`,
			2,
			/overlaps/,
		],
		[
			"trailing bytes",
			`{"a":${entry("U8", [1], 0, 1)}}`,
			2,
			/after the last tensor/,
		],
		["missing bytes", `{"a":${entry("U8", [2], 0, 2)}}`, 1, /cut short/],
		[
			"a size that does not match",
			`{"a":${entry("F16", [2], 0, 3)}}`,
			3,
			/expected 4 bytes/,
		],
		["half a byte", `{"a":${entry("F4", [3], 0, 2)}}`, 2, /whole bytes/],
		[
			"deep nesting",
			`{"a":{"x":${"[".repeat(70)}${"]".repeat(70)}}}`,
			0,
			/deeper than 64/,
		],
	])("%s", (_, json, dataBytes, message) => {
		expect(() => parse(json, dataBytes)).toThrow(FormatError);
		expect(() => parse(json, dataBytes)).toThrow(message);
	});

	test("an array of one offset, and offsets that are reversed", () => {
		for (const offsets of ["[1]", "[]", "[0,1,1]", "[1,0]"])
			expect(() =>
				parse(`{"a":{"dtype":"U8","shape":[1],"data_offsets":${offsets}}}`, 1),
			).toThrow(/not \[begin, end\]/);
	});

	test("a file of one tensor and no field", () => {
		for (const lacking of ['{"shape":[],"data_offsets":[0,1]}', "{}"])
			expect(() => parse(`{"a":${lacking}}`, 1)).toThrow(/lacks dtype, shape/);
	});

	test("a million and one tensors", () => {
		const empty = entry("U8", [0], 0, 0);
		const all = Array.from({ length: 1_000_001 }, (_, i) => `"${i}":${empty}`);
		expect(() => parse(`{${all.join(",")}}`)).toThrow(/more than 1000000/);
	}, 60_000);

	test("a name beyond 64 KiB", () => {
		const named = (bytes: number) =>
			`{"${"n".repeat(bytes)}":${entry("U8", [0], 0, 0)}}`;
		expect(parse(named(65_536)).tensors).toHaveLength(1);
		expect(() => parse(named(65_537))).toThrow(/longer than 65536 bytes/);
	});

	test("fewer bytes than the header has, as a fault of the caller", () => {
		const bytes = Buffer.from("\x10\0\0\0\0\0\0\0{}", "latin1");
		expect(() => parseHeader(bytes, 100, "x")).toThrow(RangeError);
	});

	test("a length that is cut, too large, or beyond the file", () => {
		const length = (value: bigint) => {
			const bytes = Buffer.alloc(8);
			bytes.writeBigUInt64LE(value);
			return bytes;
		};
		const of = (value: bigint, fileBytes: number) => () =>
			parseHeaderLength(length(value), fileBytes, "x");
		expect(() => parseHeaderLength(Buffer.alloc(7), 7, "x")).toThrow(
			/too short/,
		);
		expect(of(100_000_000n, 100_000_008)()).toBe(100_000_000);
		expect(of(100_000_001n, 200_000_000)).toThrow(/header length too large/);
		expect(of(2n ** 64n - 1n, 100)).toThrow(/header length too large/);
		expect(of(93n, 100)).toThrow(/longer than the file of 100 bytes/);
	});

	test("invalid UTF-8", () => {
		expect(() => parse(Uint8Array.of(0x7b, 0xff, 0x7d))).toThrow(/not UTF-8/);
	});
});

describe("parseHeader accepts", () => {
	test.each<[string, string, number]>([
		["no tensors", "{}  ", 0],
		["leading white space, with a warning", "\n {}", 1],
		["metadata null", '{"__metadata__":null}', 0],
		[
			"an unknown field, with a warning",
			'{"a":{"dtype":"U8","x":[1.5,{}],"shape":[],"data_offsets":[0,1]}}',
			1,
		],
	])("%s", (_, json, warnings) => {
		expect(parse(json, json.includes("U8") ? 1 : 0).warnings).toHaveLength(
			warnings,
		);
	});

	test("names that are special to JavaScript", () => {
		const names = ["__proto__", "constructor", "10", "2", ""];
		const json = `{${names.map((name) => `${JSON.stringify(name)}:${entry("U8", [0], 0, 0)}`).join(",")}}`;
		expect(parse(json).tensors.map(({ name }) => name)).toEqual(names);
	});
});

test("canonical order is dtype rank, then UTF-8 bytes of the name", () => {
	const tensors = [
		{ name: "\u{10000}", dtype: "F16" as const },
		{ name: "\uffff", dtype: "F16" as const },
		{ name: "z", dtype: "I64" as const },
		{ name: "a", dtype: "BF16" as const },
	];
	expect(canonicalOrder(tensors).map(({ name }) => name)).toEqual([
		"z",
		"a",
		"\uffff",
		"\u{10000}",
	]);
});

describe("encodeHeader refuses", () => {
	const encode = (tensors: Parameters<typeof encodeHeader>[0]) =>
		encodeHeader(tensors, null, "x.safetensors");

	test("case 141: a header of more than 100 MB, before anything is written", () => {
		const name = "x".repeat(65_530);
		const tensors = Array.from({ length: 1_600 }, (_, i) => ({
			...{ name: `${i}${name}`, dtype: "F16" as const, shape: [0] },
		}));
		expect(() => encode(tensors)).toThrow(
			expect.objectContaining({
				name: "FormatError",
				message: expect.stringMatching(/header too long.*at most 100000000/),
			}),
		);
	}, 60_000);

	test("a tensor with the name of the metadata", () => {
		const tensor = { name: "__metadata__", dtype: "F16", shape: [] } as const;
		expect(() => encode([tensor])).toThrow(/"__metadata__" cannot be written/);
	});

	test.each([
		["half a byte", "F4", [3]],
		["more than 2^53 bytes", "F16", [2 ** 52, 2]],
	] as const)("%s", (_, dtype, shape) => {
		const empty = { name: "b", dtype: "F16", shape: [0] } as const;
		expect(() => encode([empty, { name: "a", dtype, shape }])).toThrow(
			/tensor "a".*does not fill whole bytes/,
		);
	});

	test("tensors of more than 2^53 bytes in all", () => {
		const tensors = [..."abcdefghijklmnop"].map((name) => ({
			...{ name, dtype: "U8" as const, shape: [2 ** 49] },
		}));
		expect(encode(tensors.slice(1)).tensors).toHaveLength(15);
		expect(() => encode(tensors)).toThrow(/tensor "p".*below 2\^53/);
	});
});

test("metadata of several keys is sorted", () => {
	const metadata = new Map([
		["b", "1"],
		["a", "2"],
	]);
	const { json } = encodeHeader([], metadata, "x");
	expect(json.trim()).toBe('{"__metadata__":{"a":"2","b":"1"}}');
});

test("what encodeHeader writes, parseHeader reads", () => {
	const tensor = fc.record({
		name: fc
			.string({ unit: "grapheme" })
			.filter((name) => name !== "__metadata__"),
		dtype: fc.constantFrom(...(Object.keys(DTYPES) as Dtype[])),
		shape: fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 3 }),
	});
	fc.assert(
		fc.property(
			fc.uniqueArray(tensor, { selector: ({ name }) => name }),
			(tensors) => {
				const whole = tensors.filter(
					(each) => tensorByteLength(each) !== undefined,
				);
				const {
					json,
					byteLength,
					tensors: placed,
				} = encodeHeader(whole, new Map([["format", "pt"]]), "x");
				const bytes = headerBytes(json);
				expect(bytes.length).toBe(byteLength);
				const end = placed.at(-1)?.dataOffsets[1] ?? 0;
				const header = parseHeader(bytes, bytes.length + end, "x");
				expect(bytes.length % 8).toBe(0);
				expect(header.metadata).toEqual(new Map([["format", "pt"]]));
				expect(
					new Map(header.tensors.map((each) => [each.name, each])),
				).toEqual(new Map(placed.map((each) => [each.name, each])));
			},
		),
	);
});
