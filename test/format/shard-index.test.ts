import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FormatError } from "../../src/errors.ts";
import {
	encodeShardIndex,
	parseShardIndex,
} from "../../src/format/shard-index.ts";
import { checkShardName, sortShardNames } from "../../src/format/shard-name.ts";

const parse = (text: string) =>
	parseShardIndex(Buffer.from(text), "index.json");

test("what is written is read", () => {
	const shard = fc.integer({ min: 1, max: 99 }).map((i) => `${i}.safetensors`);
	fc.assert(
		fc.property(
			fc.array(fc.tuple(fc.string({ unit: "grapheme" }), shard)),
			(entries) => {
				const weightMap = new Map([["a", "1.safetensors"], ...entries]);
				const { weightMap: read, totalSize } = parse(
					encodeShardIndex(weightMap, 7, 3),
				);
				expect(new Map(read)).toEqual(weightMap);
				expect(totalSize).toBe(7);
			},
		),
	);
});

// Output of Python's json.dumps({...}, indent=2, sort_keys=True) + "\n" for these names.
test("text is that of transformers: sorted by code point, in ASCII", () => {
	const names = [
		"\u{1f999}",
		"\ue000",
		"b",
		"a\u007f",
		'q"\\\n',
		"é",
		"__proto__",
		"10",
		"2",
	];
	const text = encodeShardIndex(
		new Map(names.map((n) => [n, "x.safetensors"])),
		2,
		1,
	);
	const lines = [
		"10",
		"2",
		"__proto__",
		"a\\u007f",
		"b",
		'q\\"\\\\\\n',
		"\\u00e9",
		"\\ue000",
		"\\ud83e\\udd99",
	];
	expect(text).toBe(
		`{\n  "metadata": {\n    "total_parameters": 1,\n    "total_size": 2\n  },\n  "weight_map": {\n${lines.map((l) => `    "${l}": "x.safetensors"`).join(",\n")}\n  }\n}\n`,
	);
});

test("any text is an index or a format error", () => {
	fc.assert(
		fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
			try {
				expect(parse(text).weightMap.size).toBeGreaterThan(0);
			} catch (error) {
				expect(error).toBeInstanceOf(FormatError);
			}
		}),
	);
});

test("other sections and a fractional total_size are passed over", () => {
	const text =
		'{"x":[1,{"y":null}],"metadata":{"total_size":2.0,"z":"w"},"weight_map":{"a":"x.safetensors"}}';
	expect(parse(text).weightMap.get("a")).toBe("x.safetensors");
});

test.each([
	["no weight_map", '{"metadata":{}}', "no weight_map"],
	["an empty one", '{"weight_map":{}}', "weight_map is empty"],
	[
		"a total_size that is no number",
		'{"metadata":{"total_size":1x},"weight_map":{}}',
		"not a number",
	],
	[
		"too many shards",
		`{"weight_map":{${Array.from({ length: 10_001 }, (_, i) => `"${i}":"${i}.bin"`)}}}`,
		"more than 10000 shards",
	],
	[
		"names that differ in case only",
		'{"weight_map":{"a":"x.bin","b":"X.bin"}}',
		"where case does not count",
	],
])("%s is refused", (_, text, says) => {
	expect(() => parse(text)).toThrow(FormatError);
	expect(() => parse(text)).toThrow(says);
});

test("a total_size beyond 2^53 and metadata of another kind tell nothing", () => {
	const map = '"weight_map":{"a":"x.safetensors"}';
	for (const metadata of ['{"total_size":1e300}', '{"total_size":"9"}', "[]"])
		expect(parse(`{"metadata":${metadata},${map}}`).totalSize).toBe(null);
});

describe("a shard's name", () => {
	test.each([
		["", "is empty"],
		["a/b.bin", "names a folder"],
		["a%2Fb.bin", "names a folder"],
		["c:b.bin", "names a drive"],
		["a\u0001.bin", "holds a control character"],
		["..bin", "leads out of the folder"],
		["a.bin ", "is not a file name on Windows"],
		["aux.bin", "is not a file name on Windows"],
		["a.txt", "is not of a known weight format"],
	])("%j %s", (name, says) => {
		expect(() => checkShardName(name, "x")).toThrow(says);
	});

	test("counts as its number does, then as text", () => {
		const names = [
			"b.bin",
			"m-10-of-10.bin",
			"a.bin",
			"m-2-of-10.bin",
			"c.bin",
		];
		expect(sortShardNames(names)).toEqual([
			...["a.bin", "b.bin", "c.bin", "m-2-of-10.bin", "m-10-of-10.bin"],
		]);
	});
});
