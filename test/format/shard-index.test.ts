import fc from "fast-check";
import { expect, test } from "vitest";
import { FormatError } from "../../src/errors.ts";
import {
	encodeShardIndex,
	parseShardIndex,
} from "../../src/format/shard-index.ts";

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
