import { writeFile } from "node:fs/promises";
import path from "node:path";
import { expect, test } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.ts";
import { FormatError } from "../../src/errors.ts";
import { parseLegacyHead } from "../../src/format/torch-legacy.ts";
import { scratchFolder } from "../end-to-end/run.ts";
import { dict, join, pickle, storage, tensor, text } from "./torch-bytes.ts";

const MAGIC = pickle("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19");
const legacyStorage = (key: string, elements: number, view = "N") =>
	storage(key, elements, { view });

/** A file of two storages: `b` comes first in it. */
function legacyFile(changes: Partial<Record<string, Uint8Array>> = {}): Buffer {
	const parts: Record<string, Uint8Array> = {
		magic: MAGIC,
		protocol: pickle("M\xe9\x03"),
		system: pickle(dict({ little_endian: join("\x88") })),
		object: pickle(
			dict({
				a: tensor(legacyStorage("900", 2), [2], [1]),
				b: tensor(legacyStorage("100", 1), [1], [1]),
			}),
		),
		keys: pickle("](", text("100"), text("900"), "e"),
		first: Buffer.from([1, 0, 0, 0, 0, 0, 0, 0, 11, 12]),
		second: Buffer.from([2, 0, 0, 0, 0, 0, 0, 0, 21, 22, 23, 24]),
	};
	const changed = { ...parts, ...changes };
	return Buffer.concat(Object.values(changed) as Uint8Array[]);
}

async function open(bytes: Uint8Array) {
	const file = path.join(await scratchFolder(), "model.bin");
	await writeFile(file, bytes);
	const checkpoint = await openCheckpoint(file);
	await checkpoint.close();
	return checkpoint;
}

test("storages are found in the order of the list, tensors in the pickle's", async () => {
	const bytes = legacyFile();
	const { tensors } = await open(bytes);
	expect(
		Array.from(tensors.values(), ({ name, fileOffset, byteLength }) => [
			name,
			...bytes.subarray(fileOffset, fileOffset + byteLength),
		]),
	).toEqual([
		["a", 21, 22, 23, 24],
		["b", 11, 12],
	]);
});

const WRONG: [string, Buffer, string][] = [
	["another protocol", legacyFile({ protocol: pickle("M\xea\x03") }), "1001"],
	[
		"a magic number that is computed",
		legacyFile({ magic: pickle("cbuiltins\neval\n", text("1"), "\x85R") }),
		"nothing was executed",
	],
	[
		"big-endian numbers",
		legacyFile({ system: pickle(dict({ little_endian: join("\x89") })) }),
		"big-endian",
	],
	["no byte order", legacyFile({ system: pickle("}") }), "its byte order"],
	[
		"a key too few",
		legacyFile({ keys: pickle("](", text("100"), "e") }),
		"list of storages",
	],
	[
		"a key too many",
		legacyFile({
			keys: pickle("](", text("100"), text("900"), text("1"), "e"),
		}),
		"list of storages",
	],
	[
		"a key twice",
		legacyFile({ keys: pickle("](", text("100"), text("100"), "e") }),
		"list of storages",
	],
	["no list", legacyFile({ keys: pickle("}") }), "list of storages"],
	[
		"another length",
		legacyFile({ first: Buffer.from([2, 0, 0, 0, 0, 0, 0, 0, 11, 12]) }),
		"expected 1 elements, found 2",
	],
	[
		"a negative length",
		legacyFile({ first: Buffer.from([...Array(8).fill(255), 11, 12]) }),
		"found -1",
	],
	["a byte too many", Buffer.concat([legacyFile(), b(".")]), "bytes after the"],
	["a byte too few", legacyFile().subarray(0, -1), "not as long as it should"],
	["no data", legacyFile({ first: b(""), second: b("") }), "not as long as"],
	[
		"a view of a storage",
		legacyFile({
			object: pickle(
				tensor(
					legacyStorage("1", 1, "(X\x01\0\0\0" + "1K\0K\x02t"),
					...([[1], [1]] as const),
				),
			),
		}),
		"storage 1 is a view of another",
	],
	[
		"a persistent id as in zip archives",
		legacyFile({ object: pickle(storage("100", 1)) }),
		"with 5 items",
	],
	[
		"a call",
		legacyFile({ object: pickle("cos\nsystem\n", text("x"), "\x85R") }),
		"os.system",
	],
	["a Python 2 string", legacyFile({ object: pickle("U\x01a") }), "Python 2"],
];

function b(text: string): Buffer {
	return Buffer.from(text, "latin1");
}

test.each(WRONG)("%s is refused", async (_, bytes, says) => {
	await expect(open(bytes)).rejects.toThrow(says);
	await expect(open(bytes)).rejects.toThrow(FormatError);
});

test("pickles that end anywhere are refused", () => {
	const bytes = legacyFile({ first: b(""), second: b("") });
	expect(parseLegacyHead(bytes, "f").byteLength).toBe(bytes.length);
	for (let length = 15; length < bytes.length; length++)
		expect(() => parseLegacyHead(bytes.subarray(0, length), "f")).toThrow(
			FormatError,
		);
});

test("pickles longer than the first read are read whole", async () => {
	const names = Array.from({ length: 40 }, (_, i) =>
		join(text(`${i}`.padEnd(60_000, "x")), "Ns"),
	);
	const object = pickle(
		"}",
		...names,
		...[text("a"), tensor(legacyStorage("900", 2), [2], [1]), "s"],
		...[text("b"), tensor(legacyStorage("100", 1), [1], [1]), "s"],
	);
	const bytes = legacyFile({ object });
	expect(bytes.length).toBeGreaterThan(2 * 2 ** 20);
	const { tensors } = await open(bytes);
	expect([...tensors.keys()]).toEqual(["a", "b"]);
});
