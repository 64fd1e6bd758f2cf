import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FormatError } from "../../src/errors.ts";
import { parseHeader } from "../../src/format/safetensors.ts";
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
