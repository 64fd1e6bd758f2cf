import { describe, expect, test } from "vitest";
import { FormatError } from "../../src/errors.ts";
import { parsePickle } from "../../src/format/pickle.ts";
import {
	dict,
	int,
	join,
	pickle,
	storage,
	tensor,
	text,
	tuple,
} from "./torch-bytes.ts";

const STORE = storage("0", 6);
const ORDERED = "ccollections\nOrderedDict\n)R";

function refusal(bytes: Uint8Array): string {
	try {
		parsePickle(bytes, "f.bin");
	} catch (error) {
		expect(error).toBeInstanceOf(FormatError);
		return (error as Error).message;
	}
	throw new Error("it was accepted");
}

test("values come out as they were put in", () => {
	const value = parsePickle(
		pickle(
			...["}(", text("i"), int(-5), text("l"), int(2 ** 40), text("n"), "N"],
			...[
				text("f"),
				"G\x3f\xf8\0\0\0\0\0\0",
				text("e"),
				"]",
				text("b"),
				"\x88",
			],
			...[text("a"), "](K\x01K\x02e", text("x"), "]M\x01\x02a", text("t")],
			...["K\x07\x85", text("z"), "\x8a\0", text("m"), "\x8a\x01\xff", "u"],
			...["q\x05", text("again"), "N", "sh\x05\x86"],
		),
		"f.bin",
	);
	const entries = new Map<string, unknown>([
		["i", -5],
		["l", 2 ** 40],
		["n", null],
		["f", { kind: "float", value: 1.5 }],
		["e", { kind: "list", items: [] }],
		["b", true],
		["a", { kind: "list", items: [1, 2] }],
		["x", { kind: "list", items: [0x201] }],
		["t", { kind: "tuple", items: [7] }],
		["z", 0],
		["m", -1],
		["again", null],
	]);
	const dictionary = { kind: "dict", ordered: false, entries };
	expect(value).toEqual({ kind: "tuple", items: [dictionary, dictionary] });
});

test("a tensor is recognised, and a parameter is its tensor", () => {
	const parameter = join(
		"ctorch._utils\n_rebuild_parameter\n",
		tuple(tensor(STORE, [2, 2], [3, 1], 1), "\x88", ORDERED),
		"R",
	);
	const expected = {
		...{ kind: "tensor", dtype: "F16", shape: [2, 2], stride: [3, 1] },
		storageOffset: 1,
		storage: { kind: "storage", key: "0", dtype: "F16", elementCount: 6 },
	};
	expect(parsePickle(pickle(parameter), "f.bin")).toEqual(expected);
	const cuda = storage("0", 6, { type: "torch.cuda\nHalfStorage" });
	expect(parsePickle(pickle(tensor(cuda, [2, 2], [3, 1], 1)), "f")).toEqual(
		expected,
	);
});

const CALLS = [
	...["os\nsystem", "nt\nsystem", "posix\nsystem", "builtins\neval"],
	...["__builtin__\neval", "builtins\ngetattr", "pip\nmain", "torch\nload"],
	...["numpy.core.multiarray\n_reconstruct", "torch.storage\n_load_from_bytes"],
	...["collections\nCounter", "torch.jit\nload", "torch\nQInt8Storage"],
	...["torch.fake\nHalfStorage", "torch._utils\n_rebuild_qtensor"],
	"torch._utils\n_rebuild_sparse_tensor",
];

describe("no global outside the list", () => {
	test.each(CALLS)("%j", (name) => {
		const said = refusal(pickle(`c${name}\n`, text("echo"), "\x85R"));
		expect(said).toContain(name.replace("\n", "."));
		expect(said).toContain("byte 2: ");
		expect(said).toContain("nothing was executed");
	});
});

describe("no opcode outside the list", () => {
	const allowed = new Set(
		Buffer.from("()GJKMNQRX]abcehjqrstu}.\x85\x86\x87\x88\x89\x8a", "latin1"),
	);
	const others = Array.from({ length: 256 }, (_, i) => i).filter(
		(opcode) => !allowed.has(opcode),
	);
	test("each of the other 226", () => {
		expect(others).toHaveLength(226);
		for (const opcode of others) {
			const said = refusal(pickle("N", Uint8Array.of(opcode), "\0".repeat(9)));
			expect(said).toContain(`0x${opcode.toString(16).padStart(2, "0")}`);
			expect(said).toContain("byte 3: ");
			expect(said).toContain("nothing was executed");
		}
	});
	test.each([
		["\x93", "STACK_GLOBAL"],
		["i", "INST"],
		["o", "OBJ"],
		["\x82", "EXT1"],
		["P", "PERSID"],
		["2", "DUP"],
		["0", "POP"],
		["\x81", "NEWOBJ"],
		["U", "SHORT_BINSTRING (0x55), a string of Python 2,"],
		["\x80", "PROTO"],
	])("%j is named %s", (opcode, name) => {
		expect(refusal(pickle(opcode))).toContain(`opcode ${name}`);
	});
});

const WRONG: [string, string | Uint8Array, string][] = [
	["a call of a storage", "ctorch\nHalfStorage\n)R", "HalfStorage is called"],
	[
		"OrderedDict with items",
		"ccollections\nOrderedDict\n](NNe\x85R",
		"1 argum",
	],
	["a call of a str", join(text("x"), ")R"), "REDUCE of a str"],
	["arguments that are a list", "ccollections\nOrderedDict\n]R", "a list"],
	["items of a list", join("]", text("k"), "Ns"), "set in a list"],
	["items of a tuple", join(")", text("k"), "Ns"), "set in a tuple"],
	["items appended to a dict", "}Na", "appended to a dict"],
	["BUILD of a list", "]}b", "BUILD of a list"],
	["BUILD of a plain dict", "}}b", "BUILD of a dict"],
	["BUILD with no dict", `${ORDERED}]b`, "with a list"],
	["an empty stack", "a", "nothing on the stack"],
	["a pop below a mark", "N(\x85", "nothing on the stack"],
	["no mark", "Nt", "no MARK"],
	["a mark left over", "(", "nothing on the stack"],
	["a value left over", "NN", "left on the stack"],
	["a mark left below", "N(t(N", "left on the stack"],
	["a key without value", join("}(", text("k"), "u"), "a key without a value"],
	["no value in the memo", "h\x07", "no value 7 in the memo"],
	["a memo of nothing", "q\0", "nothing on the stack"],
	["a duplicate key", join("}(", text("k"), "N", text("k"), "Nu"), "duplicate"],
	["a tuple as key", "}()Nu", "a tuple is the key"],
	["a bool as key", "}(\x88Nu", "a bool is the key"],
	["a float as key", "}(G\0\0\0\0\0\0\0\0Nu", "a float is the key"],
	["a long of 9 bytes", "\x8a\x09\0\0\0\0\0\0\0\0\0", "beyond 2^53"],
	["2^53", "\x8a\x07\0\0\0\0\0\0\x20", "beyond 2^53"],
	["-2^63", "\x8a\x08\0\0\0\0\0\0\0\x80", "beyond 2^53"],
	["a long that is cut", "\x8a\xffK", "ends in the middle"],
	["a long string", "X\xff\xff\xff\xff", "more than 65536"],
	["a string that is cut", "X\x10\0\0\0abc", "ends in the middle"],
	["no UTF-8", "X\x01\0\0\0\xff", "not UTF-8"],
	["a lone surrogate", "X\x03\0\0\0\xed\xa0\x80", "not UTF-8"],
	["a name that does not end", "ctorch\nload", "ends in the middle"],
	["a name that is too long", `c${"m".repeat(300)}\nx\n`, "longer than 256"],
	["a persistent id that is a str", join(text("0"), "Q"), "a persistent id"],
	["a persistent id of 4", join(tuple("N", "N", "N", "N"), "Q"), "4 items"],
	["a persistent id of a view", storage("0", 6, { view: "N" }), "6 items"],
	[
		"a module",
		join(tuple(text("module"), "N", "N", "N", "N"), "Q"),
		'of "module"',
	],
	["a key with a slash", storage("../0", 6), '"../0" is no number'],
	["a negative number of elements", storage("0", -1), "-1 elements"],
	[
		"a storage of no storage class",
		storage("0", 6, { type: "collections\nOrderedDict" }),
		"no class of storages",
	],
	[
		"one key, two types",
		join(STORE, storage("0", 6, { type: "torch\nShortStorage" }), "\x86"),
		"storage 0 is 6 elements of I16 here, but 6 elements of F16 before",
	],
	["one key, two lengths", join(STORE, storage("0", 7), "\x86"), "7 elements"],
	["a view beyond the end", tensor(STORE, [2, 3], [3, 1], 1), "beyond the 6"],
	["a stride beyond the end", tensor(STORE, [2], [6]), "beyond the 6"],
	["huge", tensor(STORE, [2 ** 40, 2 ** 40], [0, 0]), "too large"],
	["a far stride", tensor(STORE, [2 ** 30], [2 ** 50]), "beyond the 6"],
	["a negative stride", tensor(STORE, [2], [-1]), "no counts"],
	["a negative dimension", tensor(STORE, [-2], [1]), "no counts"],
	["a negative offset", tensor(STORE, [2], [1], -1), "no count"],
	["too few strides", tensor(STORE, [2, 2], [1]), "with stride [1]"],
	[
		"a conjugate view",
		tensor(STORE, [2], [1], 0, dict({ conj: int(1) })),
		"conj",
	],
	["too many arguments", tensor(STORE, [2], [1], 0, "N", "N"), "8 arguments"],
	["no storage", tensor(join("N"), [2], [1]), "no storage with a type"],
	[
		"bytes of no type",
		tensor(
			storage("0", 6, { type: "torch.storage\nUntypedStorage" }),
			[2],
			[1],
		),
		"no storage with a type",
	],
	[
		"hooks",
		join(
			"ctorch._utils\n_rebuild_parameter\n",
			tuple(tensor(STORE, [2], [1]), "\x88", dict({ hook: int(1) })),
			"R",
		),
		"backward_hooks is not empty",
	],
	[
		"a parameter of no tensor",
		join(
			"ctorch._utils\n_rebuild_parameter\n",
			tuple("N", "\x88", ORDERED),
			"R",
		),
		"no tensor",
	],
];

test.each(WRONG)("%s is refused", (_, opcodes, says) => {
	const said = refusal(pickle(opcodes));
	expect(said).toContain(says);
	expect(said).toContain("nothing was executed");
	expect(said).toMatch(/^f\.bin, byte \d+: /);
});

test("pickles of other protocols, cut and continued ones are refused", () => {
	for (const protocol of [0, 1, 3, 4, 5])
		expect(refusal(Buffer.from([0x80, protocol, 0x4e, 0x2e]))).toContain(
			`protocol ${protocol}, not 2`,
		);
	expect(refusal(Buffer.from("(dp0\n."))).toContain("no pickle of protocol 2");
	expect(refusal(Buffer.concat([pickle("N"), pickle("N")]))).toContain(
		"byte 4: 4 bytes after STOP",
	);
	const sound = pickle(dict({ t: tensor(STORE, [2], [1]) }));
	expect(() => parsePickle(sound, "f")).not.toThrow();
	for (let length = 0; length < sound.length; length++)
		expect(refusal(sound.subarray(0, length))).toContain("ends in the middle");
});

test("what would fill the memory is refused", () => {
	expect(refusal(pickle("N".repeat(10_001)))).toContain("10000 values");
	expect(refusal(pickle("(".repeat(10_001)))).toContain("10000 marks");
	expect(refusal(pickle("]", "Na".repeat(500_001)))).toContain("1000000 opc");
	const long = text("x".repeat(65_536));
	const longs = Array.from({ length: 977 }, () => long);
	expect(refusal(pickle(...longs))).toContain("longer than 64000000 bytes");
	const puts = Array.from({ length: 100_001 }, (_, i) => {
		const put = Buffer.from("r\0\0\0\0");
		put.writeUInt32LE(2 ** 32 - 1 - i, 1);
		return put;
	});
	expect(refusal(pickle("N", ...puts))).toContain("100000 values in the memo");
	expect(() => parsePickle(pickle("N", ...puts.slice(1)), "f")).not.toThrow();
});

test("a dict that holds itself is a value like any other", () => {
	const value = parsePickle(pickle("}q\0", text("me"), "h\0s"), "f") as {
		entries: Map<string, unknown>;
	};
	expect(value.entries.get("me")).toBe(value);
});
