import { describe, expect, test } from "vitest";
import { parsePickleAt } from "../../src/format/pickle.ts";
import { placeTensors } from "../../src/format/torch.ts";
import {
	dict,
	int,
	join,
	pickle,
	storage,
	tensor,
	text,
} from "./torch-bytes.ts";

const PLACES = new Map(
	["0", "1", "2"].map((key, i) => [
		key,
		{ fileOffset: 100 + 64 * i, byteLength: 12 },
	]),
);
const weight = tensor(storage("0", 6), [2, 3], [3, 1]);
const bias = tensor(storage("1", 6), [6], [1]);

function place(...opcodes: (string | Uint8Array)[]) {
	const parsed = parsePickleAt(pickle(...opcodes), "f.bin", {});
	return placeTensors(parsed, PLACES, "f.bin");
}

function names(...opcodes: (string | Uint8Array)[]): string[] {
	return place(...opcodes).tensors.map(({ name }) => name);
}

test("tensors are placed in the pickle's order, and tied ones told", () => {
	const shifted = tensor(storage("0", 6), [2], [1], 3);
	const turned = tensor(storage("0", 6), [3, 2], [1, 3]);
	const empty = tensor(storage("0", 6), [0], [1], 5);
	const { tensors, warnings } = place(
		dict({
			w: weight,
			b: bias,
			s: shifted,
			w2: weight,
			t: turned,
			e: empty,
			e2: empty,
			w3: weight,
		}),
	);
	expect(warnings).toEqual([]);
	expect(
		tensors.map(({ name, fileOffset, byteLength, tiedTo }) => [
			...[name, fileOffset, byteLength, tiedTo],
		]),
	).toEqual([
		["w", 100, 12, undefined],
		["b", 164, 12, undefined],
		["s", 106, 4, undefined],
		["w2", 100, 12, "w"],
		["t", 100, 12, undefined],
		["e", 100, 0, undefined],
		["e2", 100, 0, undefined],
		["w3", 100, 12, "w"],
	]);
});

describe("the state dict is found", () => {
	const model = dict({ w: weight, b: bias });
	const optimizer = dict({ state: dict({ x: bias }) });
	test.each(["state_dict", "model_state_dict", "model", "module"])(
		"under %s, beside what else a trainer saves",
		(key) => {
			const root = dict({ epoch: int(3), optimizer, [key]: model, loss: bias });
			expect(names(root)).toEqual(["w", "b"]);
			expect(place(root).warnings).toEqual([
				`f.bin: the tensors in "${key}" are read, what else the checkpoint holds is not`,
			]);
		},
	);
	test("under any name, if it is the only one", () => {
		expect(names(dict({ generator: model, epoch: int(3) }))).toEqual([
			...["w", "b"],
		]);
	});
	test("with entries that are no tensors, which are told", () => {
		const root = dict({ w: weight, step: int(7), list: join("]") });
		expect(names(root)).toEqual(["w"]);
		expect(place(root).warnings[0]).toContain("not read: step, list");
	});
	test.each([
		["a list", ["]"], "found a list"],
		["a tensor", [weight], "found a tensor"],
		["nothing", ["}"], "no tensor at all"],
		["no tensor", [dict({ epoch: int(1) })], "no tensor at all"],
		[
			"two",
			[dict({ state_dict: model, model })],
			"more than one state dict, found tensors in state_dict (2 tensors)",
		],
		[
			"two of other names",
			[dict({ a: model, b: dict({ x: bias }) })],
			"more than",
		],
		[
			"one too deep",
			[dict({ outer: dict({ state: model }) })],
			"found tensors in outer.state (2 tensors)",
		],
		["one within one", [dict({ w: weight, sub: model })], "and in others"],
		[
			"tensors in a list within it",
			[
				dict({
					model: join("}", text("w"), weight, "s", text("l"), "]", bias, "as"),
				}),
			],
			"deeper in it",
		],
		["a number as name", [join("}K\x01", weight, "s")], "by the number 1"],
		["only itself", ["}q\0", text("me"), "h\0s"], "no tensor at all"],
	])("but not in %s", (_, opcodes, says) => {
		expect(() => place(...opcodes)).toThrow(says);
	});
});

test.each([
	[
		"a storage that is missing",
		storage("9", 6),
		"storage 9 is not in the file",
	],
	["a storage that is longer", storage("0", 7), "expected 14 bytes"],
	["a storage that is shorter", storage("0", 5), "expected 10 bytes"],
	["a huge storage", storage("0", 2 ** 52 + 1), "more than 2^53 bytes"],
])("%s is refused, though no tensor uses it", (_, other, says) => {
	const root = dict({ w: bias, other: join(other) });
	expect(() => place(root)).toThrow(says);
});

test("views that repeat without end are refused", () => {
	const expanded = (count: number) =>
		dict({ w: tensor(storage("0", 6), [count, 2], [0, 1]) });
	expect(names(expanded(2 ** 18))).toEqual(["w"]);
	expect(() => place(expanded(2 ** 18 + 1))).toThrow("more than 4 times");
	expect(() => place(expanded(2 ** 40))).toThrow("more than 4 times");
});

test("a storage of bytes is told as such", () => {
	const untyped = join(
		...["(", text("storage"), "ctorch.storage\nUntypedStorage\n"],
		...[text("0"), text("cpu"), int(7), "tQ"],
	);
	const root = dict({ w: bias, other: untyped });
	expect(() => place(root)).toThrow("expected 7 bytes for 7 bytes of no type");
});

test("of many places with tensors three are named, and the rest told", () => {
	const model = dict({ w: weight });
	const root = dict({ a: model, b: model, c: dict({ w: bias }) });
	const more = dict({ root, e: dict({ w: bias }), f: dict({ w: bias }) });
	expect(() => place(dict({ g: more }))).toThrow(/tensors in .*, .*, .*, …/);
});
