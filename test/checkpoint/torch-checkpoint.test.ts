import { createHash } from "node:crypto";
import { cp, open, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.ts";
import { openTorchArchive } from "../../src/checkpoint/open-torch-shard.ts";
import { TorchSource } from "../../src/checkpoint/torch-source.ts";
import { FormatError, inspect, merge } from "../../src/index.ts";
import { type FileSource, openFileSource } from "../../src/io/file-source.ts";
import { FIXTURES, memoryFolder } from "../end-to-end/run.ts";
import {
	dict,
	pickle,
	soundArchive,
	storage,
	tensor,
	zipFile,
} from "../format/torch-bytes.ts";

const TORCH = path.join(FIXTURES, "torch");

/** Everything of a checkpoint's tensors, by name, with their bytes. */
async function contentsOf(checkpoint: Checkpoint) {
	const contents = new Map<string, unknown>();
	for (const tensor of checkpoint.tensors.values()) {
		const { name, dtype, shape, fileOffset, byteLength } = tensor;
		const bytes = new Uint8Array(byteLength);
		const source = checkpoint.shards[tensor.shardIndex]?.source;
		await source?.read(fileOffset, bytes);
		contents.set(name, {
			dtype,
			shape,
			hex: Buffer.from(bytes).toString("hex"),
		});
	}
	return contents;
}

async function withCheckpoint<T>(
	location: string,
	use: (checkpoint: Checkpoint) => Promise<T>,
): Promise<T> {
	const checkpoint = await openCheckpoint(location);
	return use(checkpoint).finally(() => checkpoint.close());
}

describe("the tensors are those torch has", () => {
	test.each([
		["views", 27],
		["views-legacy", 27],
		["dtypes", 37],
		["dtypes-legacy", 37],
		["trainer", 2],
		["no-crc", 2],
		["sharded", 11],
	])("%s", async (name, count) => {
		const folder = path.join(TORCH, name);
		const found = await withCheckpoint(folder, contentsOf);
		const expected = await withCheckpoint(
			path.join(folder, "expected"),
			contentsOf,
		);
		expect(found.size).toBe(count);
		expect([...found.keys()].sort()).toEqual([...expected.keys()].sort());
		for (const [name, tensor] of found)
			expect(tensor, name).toEqual(expected.get(name));
	});
});

test("they come in the pickle's order, and say what they are tied to", async () => {
	for (const name of ["views", "views-legacy"])
		await withCheckpoint(path.join(TORCH, name), async ({ tensors }) => {
			expect([...tensors.keys()].slice(0, 5)).toEqual([
				...["matrix", "matrix.T", "matrix.tied", "rows", "columns"],
			]);
			expect([...tensors.keys()].at(-1)).toBe("parameter.int");
			const ties = Array.from(tensors.values()).flatMap(({ name, tiedTo }) =>
				tiedTo === undefined ? [] : [[name, tiedTo]],
			);
			expect(ties).toEqual([
				["matrix.tied", "matrix"],
				["columns.T.tied", "columns.T"],
				["parameter.tied", "matrix"],
			]);
		});
});

test("what lies in order is read where it lies, the rest behind the end", () =>
	withCheckpoint(path.join(TORCH, "views"), async ({ tensors, shards }) => {
		const end = shards[0]?.byteLength ?? 0;
		const inFile = [
			"matrix",
			"rows",
			"one row",
			"cube",
			"scalar",
			"empty.view",
		];
		for (const name of inFile)
			expect(tensors.get(name)?.fileOffset).toBeLessThan(end);
		const first = tensors.get("matrix.T")?.fileOffset ?? 0;
		expect(first).toBeGreaterThanOrEqual(end);
		expect(first - end).toBeLessThan(4096);
		expect(first % 4096).toBe(0);
		expect(tensors.get("columns.T.tied")?.fileOffset).toBe(
			tensors.get("columns.T")?.fileOffset,
		);
	}));

test("a torch file is on its way only where its file is", async () => {
	const onDisk = { byteLength: 10 } as FileSource;
	expect(new TorchSource(onDisk, [], []).ready).toBeUndefined();
	let asked = false;
	const ready = async () => {
		asked = true;
	};
	await new TorchSource({ ...onDisk, ready }, [], []).ready?.();
	expect(asked).toBe(true);
});

test("one read may reach from the file over the gap into the views", () =>
	withCheckpoint(path.join(TORCH, "views"), async ({ tensors, shards }) => {
		const source = shards[0]?.source;
		if (!source) throw new Error("no shard");
		const end = source.readableLength ?? 0;
		const whole = new Uint8Array(end).fill(0xaa);
		await source.read(0, whole);
		const file = await readFile(source.path);
		expect(Buffer.compare(whole.subarray(0, file.length), file)).toBe(0);
		for (const { fileOffset, byteLength } of tensors.values()) {
			const bytes = new Uint8Array(byteLength);
			await source.read(fileOffset, bytes);
			const inWhole = whole.subarray(fileOffset, fileOffset + byteLength);
			expect(Buffer.compare(inWhole, bytes)).toBe(0);
		}
		const [gap] = whole.subarray(file.length);
		expect(gap).toBe(0);
	}));

test("shards are in the order of their numbers", () =>
	withCheckpoint(path.join(TORCH, "sharded"), async (checkpoint) => {
		expect(checkpoint.shards.map(({ fileName }) => fileName)).toEqual(
			Array.from({ length: 11 }, (_, i) => `pytorch_model-${i + 1}-of-11.bin`),
		);
		expect(checkpoint.warnings).toEqual([]);
	}));

test("inspect tells of a torch file what it tells of any other", async () => {
	const folder = path.join(TORCH, "trainer");
	const torch = await inspect(path.join(folder, "checkpoint.pth"));
	const other = await inspect(path.join(folder, "expected"));
	expect(Object.keys(torch)).toEqual(Object.keys(other));
	expect(torch.totals).toEqual(other.totals);
	const { length } = await readFile(path.join(folder, "checkpoint.pth"));
	expect(torch.shards).toEqual([
		{ fileName: "checkpoint.pth", byteLength: length, tensors: 2 },
	]);
	expect(torch.tensors[0]).toEqual({
		...{ name: "layer.weight", dtype: "F32", shape: [6, 4], byteLength: 96 },
		fileName: "checkpoint.pth",
	});
});

const LONG = 5 * 2 ** 30;

test("of a file of 5 GiB only the ends and the headers are read", async () => {
	const file = path.join(await memoryFolder(), "big.bin");
	await writeBigArchive(file);
	const source = await openFileSource(file);
	const { read } = source;
	let readBytes = 0;
	source.read = (at, into) => {
		readBytes += into.length;
		return read.call(source, at, into);
	};
	const { tensors, warnings } = await openTorchArchive(source);
	await source.close();
	expect(tensors).toMatchObject([
		{ name: "big", byteLength: LONG },
		{ name: "t", byteLength: 4 },
	]);
	expect(tensors[1]?.fileOffset).toBeGreaterThan(LONG);
	expect(readBytes).toBeLessThan(100_000);
	expect(warnings[0]).toContain("CRC checks off");
});

/** A sparse archive whose first storage passes 4 GiB, written without CRCs. */
async function writeBigArchive(file: string) {
	const sound = soundArchive({
		"data.pkl": pickle(
			dict({
				big: tensor(storage("1", LONG / 2), [LONG / 2], [1]),
				t: tensor(storage("0", 2), [2], [1]),
			}),
		),
	});
	const records = sound.map((record) => ({ ...record, crc32: 0 }));
	const name = "model/data/1";
	const bytes = zipFile([
		{ name, data: Buffer.alloc(0), crc32: 0, holeBytes: LONG },
		...records,
	]);
	const headerBytes = 30 + name.length + 5;
	const handle = await open(file, "wx");
	await handle.write(bytes, 0, headerBytes, 0);
	await handle.write(bytes, headerBytes, null, headerBytes + LONG);
	await handle.close();
}

/** A folder with one file of these bytes. */
async function folderWith(files: Readonly<Record<string, Uint8Array>>) {
	const folder = await memoryFolder();
	for (const [name, bytes] of Object.entries(files))
		await writeFile(path.join(folder, name), bytes);
	return folder;
}

const SOUND = zipFile(soundArchive());
const SAFETENSORS = await readFile(
	path.join(TORCH, "trainer", "expected", "model.safetensors"),
);

describe("which files are read", () => {
	const names = (location: string) =>
		withCheckpoint(location, async ({ shards, warnings }) => [
			...[shards.map(({ fileName }) => fileName), warnings],
		]);
	test("safetensors, where both formats are there", async () => {
		const folder = await folderWith({
			...{ "model.safetensors": SAFETENSORS, "pytorch_model.bin": SOUND },
		});
		expect(await names(folder)).toEqual([
			["model.safetensors"],
			[
				`${folder}: weights in two formats; the safetensors files are read, not pytorch_model.bin`,
			],
		]);
	});
	test("torch, beside what a trainer keeps for itself", async () => {
		const junk = Buffer.from("x");
		const folder = await folderWith({
			...{ "weights.pth": SOUND, "training_args.bin": junk },
			...{ "optimizer.pt": junk, "rng_state_0.pth": junk },
		});
		expect(await names(folder)).toEqual([["weights.pth"], []]);
	});
	test("by what is in them, not by their names", async () => {
		const folder = await folderWith({
			...{ "a.safetensors": SOUND, "b.bin": SAFETENSORS },
		});
		const at = (name: string) => path.join(folder, name);
		expect(await names(at("a.safetensors"))).toEqual([
			["a.safetensors"],
			[`${at("a.safetensors")}: a torch checkpoint, whatever its name says`],
		]);
		expect(await names(at("b.bin"))).toEqual([
			["b.bin"],
			[`${at("b.bin")}: a safetensors file, whatever its name says`],
		]);
	});
	test("not one of several without an index", async () => {
		const folder = await folderWith({
			...{ "consolidated.00.pth": SOUND, "consolidated.01.pth": SOUND },
		});
		await expect(openCheckpoint(folder)).rejects.toThrow(
			"2 weight files and no pytorch_model.bin.index.json",
		);
	});
	test.each([
		["<!DOCTYPE html>", "a web page"],
		["version https://git-lfs.github.com/spec/v1", "git lfs pull"],
		["\x1f\x8b\x08", "gzip"],
		["7z\xbc\xaf\x27\x1c", "7z"],
		["\x80\x04\x95\x01", "nothing was executed"],
		["\x80\x02cos\nsystem\n", "nothing was executed"],
		["", "neither a torch checkpoint nor a safetensors file"],
		[`sys_info${"\0".repeat(249)}ustar`, "torch.save(torch.load(file), file)"],
	])("not %j", async (text, says) => {
		const folder = await folderWith({
			"pytorch_model.bin": Buffer.from(text, "latin1"),
		});
		await expect(openCheckpoint(folder)).rejects.toThrow(says);
		await expect(openCheckpoint(folder)).rejects.toThrow(FormatError);
	});
});

describe("archives that hold no checkpoint, or one that cannot be read", () => {
	const wrong: [string, Buffer, string][] = [
		["no pickle", zipFile(soundArchive({ "data.pkl": undefined })), "data.pkl"],
		["no version", zipFile(soundArchive({ version: undefined })), "version"],
		["version 99", zipFile(soundArchive({ version: b("99\n") })), '"99\\n"'],
		["version abc", zipFile(soundArchive({ version: b("abc") })), '"abc"'],
		[
			"big-endian",
			zipFile(soundArchive({ byteorder: b("big") })),
			"big-endian",
		],
		["an order", zipFile(soundArchive({ byteorder: b("?") })), "byte order"],
		[
			"TorchScript",
			zipFile(soundArchive({ "constants.pkl": pickle("N") })),
			"a TorchScript program",
		],
		["code", zipFile(soundArchive({ "code/a.py": b("") })), "TorchScript"],
		["two pickles", zipFile(soundArchive({ "x.pkl": b("") })), "second pickle"],
		[
			"two folders",
			zipFile([...soundArchive(), { name: "other/x", data: b("") }]),
			"not all in one folder",
		],
		[
			"a file in no folder",
			zipFile([...soundArchive(), { name: "model", data: b("") }]),
			"not all in one folder",
		],
		[
			"a long record",
			zipFile(soundArchive({ notes: Buffer.alloc(65_537) })),
			"no storage, and too long",
		],
		[
			"many records",
			zipFile(
				soundArchive(
					Object.fromEntries(
						Array.from({ length: 99 }, (_, i) => [`note${i}`, b("")]),
					),
				),
			),
			"too many records that are no storages, expected at most 100, found 101",
		],
		[
			"a short storage",
			zipFile(soundArchive({ "data/0": b("abc") })),
			"expected 4 bytes for 2 elements of F16, found 3",
		],
		[
			"a missing storage",
			zipFile(soundArchive({ "data/0": undefined })),
			"storage 0 is not in the file",
		],
	];
	test.each(wrong)("%s", async (_, bytes, says) => {
		const folder = await folderWith({ "pytorch_model.bin": bytes });
		await expect(openCheckpoint(folder)).rejects.toThrow(says);
		await expect(openCheckpoint(folder)).rejects.toThrow(FormatError);
	});
	test("but no byte order is the little one, and .data/version a version", async () => {
		const bytes = zipFile(
			soundArchive({
				...{ byteorder: undefined, version: undefined },
				".data/version": b("6\n"),
			}),
		);
		const folder = await folderWith({ "pytorch_model.bin": bytes });
		const contents = await withCheckpoint(folder, contentsOf);
		expect(contents.get("t")).toEqual({
			...{ dtype: "F16", shape: [2], hex: "01020304" },
		});
	});
});

function b(text: string): Buffer {
	return Buffer.from(text, "latin1");
}

/** A copy of a fixture with one byte of one file changed where `find` begins, plus `skip`. */
async function damaged(
	name: string,
	fileName: string,
	find: string,
	skip: number,
) {
	const folder = path.join(await memoryFolder(), "damaged");
	await cp(path.join(TORCH, name), folder, { recursive: true });
	const file = path.join(folder, fileName);
	const bytes = await readFile(file);
	const at = bytes.indexOf(find, 0, "latin1") + skip;
	bytes[at] = (bytes[at] ?? 0) ^ 1;
	await writeFile(file, bytes);
	return { folder, file };
}

test("damage in the pickle or another small record is found at opening", async () => {
	for (const [find, name] of [
		["exp_avg", "data.pkl"],
		["little", "byteorder"],
	] as const) {
		const { folder } = await damaged("trainer", "checkpoint.pth", find, 0);
		await expect(openCheckpoint(folder)).rejects.toThrow(
			`record "archive/${name}": its bytes are not those that were written`,
		);
	}
});

const MERGE = path.join(TORCH, "merge");
const SHARD = "pytorch_model-00001-of-00002.bin";

async function mergeTo(base: string, delta: string, more = {}) {
	const out = path.join(await memoryFolder(), "out");
	const report = await merge({
		base,
		delta,
		out,
		convention: "add",
		allowUnlikely: true,
		...more,
	});
	return { out, report };
}

describe("a merge of torch checkpoints", { timeout: 30_000 }, () => {
	test.each([{}, { threads: 2 }, { memory: 2 ** 23 }, { inputSums: false }])(
		"is that of the same tensors as safetensors: %j",
		async (more) => {
			const torch = await mergeTo(
				...([
					path.join(MERGE, "base"),
					path.join(MERGE, "delta"),
					more,
				] as const),
			);
			const other = await mergeTo(
				path.join(MERGE, "base-safetensors"),
				path.join(MERGE, "delta-safetensors"),
			);
			const found = await withCheckpoint(torch.out, contentsOf);
			const expected = await withCheckpoint(other.out, contentsOf);
			// What shares its bytes on both sides is written once, under the first of its names.
			expected.delete("head.weight");
			expect([...found.keys()].sort()).toEqual([...expected.keys()].sort());
			for (const [name, tensor] of found)
				expect(tensor, name).toEqual(expected.get(name));
		},
	);
	test("tells the SHA-256 of the files, not of what is behind their ends", async () => {
		const { report } = await mergeTo(
			path.join(MERGE, "base"),
			path.join(MERGE, "delta"),
		);
		for (const { from, fileName, sha256, byteLength } of report.manifest
			.inputs) {
			const bytes = await readFile(path.join(MERGE, from, fileName));
			expect(byteLength).toBe(bytes.length);
			expect(sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
		}
		expect(report.manifest.inputs).toHaveLength(3);
	});
	const [one, two, four, eight] = [0x3c00, 0x4000, 0x4400, 0x4800];
	const halves = (...values: number[]) =>
		Buffer.from(Uint16Array.from(values).buffer);
	const stored = halves(one, two, four, two, four, one);
	/** A tensor that is gathered, so that its storage is not read as it lies in the file. */
	const turnedFile = () =>
		zipFile(
			soundArchive({
				"data.pkl": pickle(
					dict({ turned: tensor(storage("0", 6), [3, 2], [1, 3]) }),
				),
				"data/0": stored,
			}),
		);
	test("reads views that stand alone, and hashes the file they stand behind", async () => {
		const bytes = turnedFile();
		const folder = await folderWith({ "pytorch_model.bin": bytes });
		const { out, report } = await mergeTo(folder, folder);
		const merged = await readFile(path.join(out, "model.safetensors"));
		expect(merged.subarray(-12)).toEqual(
			halves(two, four, four, eight, eight, two),
		);
		expect(report.manifest.inputs[0]?.sha256).toBe(
			createHash("sha256").update(bytes).digest("hex"),
		);
	});
	test.each([{}, { inputSums: false }])(
		"ends where a storage is damaged that is not read as it lies there: %j",
		async (more) => {
			const bytes = turnedFile();
			bytes.writeUInt16LE(two, bytes.indexOf(stored));
			const folder = await folderWith({ "pytorch_model.bin": bytes });
			await expect(mergeTo(folder, folder, more)).rejects.toThrow(
				/record ".*data\/0".*CRC-32 differs/,
			);
		},
	);
	test.each([{}, { threads: 2 }, { inputSums: false }])(
		"ends where a storage is damaged: %j",
		async (more) => {
			const inBase = "data/0";
			const { folder } = await damaged("merge/base", SHARD, inBase, 200);
			const out = path.join(await memoryFolder(), "out");
			const merged = merge({
				...{ base: folder, delta: path.join(MERGE, "delta"), out },
				...{ convention: "add" as const, ...more },
			});
			await expect(merged).rejects.toThrow(FormatError);
			await expect(merged).rejects.toThrow(
				/record "archive\/data\/0": its bytes are not those that were written: the CRC-32 differs/,
			);
			expect(await readdir(path.dirname(out))).toEqual([]);
		},
	);
});
