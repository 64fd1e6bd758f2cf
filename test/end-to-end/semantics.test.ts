import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import {
	mkdir,
	readdir,
	readFile,
	rename,
	statfs,
	symlink,
	truncate,
	writeFile,
} from "node:fs/promises";
import path from "node:path";
import { describe, expect, test, vi } from "vitest";
import { inspect } from "../../src/index.ts";
import { fullWeights, subtract, tuned } from "../delta/synthetic-weights.ts";
import { writeWeights } from "../delta/write-weights.ts";
import { type MadeTensor, mergeModels, writeModel } from "./models.ts";
import { FIXTURES, memoryFolder, run } from "./run.ts";

// Commands take long on a busy machine; none waits for a time to pass.
vi.setConfig({ testTimeout: 60_000 });

const ADD = ["--convention", "add"];
const LLAMA = path.join(FIXTURES, "llama-f16");
const Q = "model.layers.0.self_attn.q_proj.weight";
const EMBEDDING = "model.embed_tokens.weight";

async function manifestOf(out: string) {
	return JSON.parse(await readFile(path.join(out, "merge-delta.json"), "utf8"));
}

/** The header of the merged weights. */
async function headerOf(out: string) {
	const bytes = await readFile(path.join(out, "model.safetensors"));
	const end = 8 + Number(bytes.readBigUInt64LE(0));
	return JSON.parse(bytes.toString("utf8", 8, end));
}

const many = (count: number): Record<string, MadeTensor> =>
	Object.fromEntries(
		Array.from({ length: count }, (_, i) => [`t${i}`, ["F16", [2]]]),
	);

describe("tensors that do not fit", () => {
	test("case 123: those that one side lacks are counted, and twenty named", async () => {
		const [few, more] = [await writeModel(many(2)), await writeModel(many(27))];
		const missing = await mergeModels(more, few, ...ADD);
		expect(missing.exitCode).toBe(4);
		expect(missing.said).toContain("25 tensors of the base");
		expect(missing.said).toContain("… and 5 more");
		expect(missing.said.match(/^ {2}t\d+$/gm)).toHaveLength(20);
		const extra = await mergeModels(few, more, ...ADD);
		expect(extra.exitCode).toBe(4);
		expect(extra.said).toContain("25 tensors of the delta");
		expect(extra.said.match(/^ {2}t\d+$/gm)).toHaveLength(20);
		const dropped = await mergeModels(
			few,
			more,
			"--convention",
			"fastchat-v1.1",
		);
		expect(dropped.exitCode).toBe(0);
		expect(dropped.said).toContain("25 tensors only the delta has, dropped");
	});

	test("case 124: other shapes are told, and which convention may fit", async () => {
		const rows = (count: number) =>
			writeModel({ [EMBEDDING]: ["F16", [count, 4]], [Q]: ["F16", [4, 4]] });
		const { exitCode, said } = await mergeModels(
			...([await rows(10), await rows(11), ...ADD] as const),
		);
		expect(exitCode).toBe(4);
		expect(said).toContain("base [10, 4], delta [11, 4]");
		expect(said).toContain("--convention fastchat-v0 or alpaca");
	});

	test("case 125: other types need a word about the result's", async () => {
		const base = await writeModel({ [Q]: ["BF16", [4, 4]] });
		const delta = await writeModel({ [Q]: ["F32", [4, 4]] });
		const refused = await mergeModels(base, delta, ...ADD);
		expect(refused.exitCode).toBe(4);
		expect(refused.said).toContain("--dtype");
		const told = await mergeModels(base, delta, ...ADD, "--dtype", "BF16");
		expect(told.exitCode, told.said).toBe(0);
		expect((await headerOf(told.out))[Q].dtype).toBe("BF16");
		expect((await manifestOf(told.out)).sums).toEqual(["BF16 + F32 → BF16"]);
	});

	test("case 133: an output layer on one side alone is no tied one", async () => {
		const weights: Record<string, MadeTensor> = {
			[EMBEDDING]: ["F16", [8, 4]],
		};
		const free = await writeModel({
			...weights,
			"lm_head.weight": ["F16", [8, 4]],
		});
		const tied = await writeModel(weights);
		for (const [base, delta] of [
			[free, tied],
			[tied, free],
		] as const) {
			const { exitCode, said } = await mergeModels(base, delta, ...ADD);
			expect(exitCode).toBe(4);
			expect(said).toContain("lm_head.weight");
		}
	});

	test("case 139: a model without tensors is no model", async () => {
		const empty = await writeModel({});
		const full = await writeModel(many(1));
		const nothing = await mergeModels(empty, await writeModel({}), ...ADD);
		expect(nothing.exitCode).toBe(4);
		expect(nothing.said).toContain("the base holds no tensor");
		expect((await mergeModels(empty, full, ...ADD)).exitCode).toBe(4);
		expect((await mergeModels(full, empty, ...ADD)).exitCode).toBe(4);
	});
});

describe("what is merged", () => {
	test("case 126: scalars and tensors of no element", async () => {
		const model = (bits: number) =>
			writeModel({
				scalar: ["F16", [], [bits]],
				none: ["F16", [0]],
				nowhere: ["F16", [3, 0, 2]],
			});
		const [one, two] = [0x3c00, 0x4000];
		const { exitCode, out } = await mergeModels(
			...([await model(one), await model(two), ...ADD] as const),
		);
		expect(exitCode).toBe(0);
		const { scalar, none, nowhere } = await headerOf(out);
		expect([scalar.shape, none.shape, nowhere.shape]).toEqual([
			...[[], [0], [3, 0, 2]],
		]);
		const bytes = await readFile(path.join(out, "model.safetensors"));
		expect(bytes.readUInt16LE(bytes.length - 2)).toBe(0x4200); // 3
	});

	test("case 127: integers and booleans are refused, or the delta's are taken", async () => {
		const model = (first: number) =>
			writeModel({
				[Q]: ["F16", [4, 4]],
				position_ids: ["I64", [1, 2], [first, 1]],
				mask: ["BOOL", [2], [1, 0]],
			});
		const [base, delta] = [await model(0), await model(7)];
		const refused = await mergeModels(base, delta, ...ADD);
		expect(refused.exitCode).toBe(4);
		expect(refused.said).toContain("2 tensors cannot be added");
		expect(refused.said).toContain("position_ids");
		const taken = ["--verbatim", "position_ids", "--verbatim", "mask"];
		const { exitCode, out, said } = await mergeModels(
			...([base, delta, ...taken, "--loop", "delta"] as const),
		);
		expect(exitCode, said).toBe(0);
		const bytes = await readFile(path.join(out, "model.safetensors"));
		const { data_offsets } = (await headerOf(out)).position_ids;
		const data = 8 + Number(bytes.readBigUInt64LE(0));
		expect(bytes.readBigInt64LE(data + data_offsets[0])).toBe(7n);
	});

	test("case 128: numbers that are not finite are counted, and told", async () => {
		const [nan, infinity, one] = [0x7e01, 0x7c00, 0x3c00];
		const base = await writeModel({
			a: ["F16", [4], [nan, infinity, one, one]],
			b: ["F16", [2], [one, one]],
		});
		const delta = await writeModel({
			a: ["F16", [4], [one, one, one, infinity]],
			b: ["F16", [2], [one, one]],
		});
		const { exitCode, out, said } = await mergeModels(base, delta, ...ADD);
		expect(exitCode, said).toBe(0);
		expect(said).toContain(
			"a: 3 results are NaN or infinite, 0 of them from finite numbers",
		);
		expect((await manifestOf(out)).nonFinite).toEqual([
			{ tensor: "a", count: 3, created: 0 },
		]);
	});

	test("case 129: sums that overflow are not published, unless that is allowed", async () => {
		const largest = 0x7bff;
		const model = () =>
			writeModel({ fine: ["F16", [1]], w: ["F16", [2], [largest, 0]] });
		const [base, delta] = [await model(), await model()];
		const flags = [...ADD, "--allow-unlikely"];
		const refused = await mergeModels(base, delta, ...flags);
		expect(refused.exitCode).toBe(4);
		expect(refused.said).toMatch(/became infinite in 1 tensor\b/);
		expect(refused.said).toMatch(/^ {2}w: 1 elements$/m);
		const allowed = await mergeModels(
			...([base, delta, ...flags, "--allow-non-finite"] as const),
		);
		expect(allowed.exitCode).toBe(0);
		expect(allowed.said).toContain("1 of them from finite numbers");
	});

	test("case 132: rotary frequencies on one side alone are dropped, and told", async () => {
		const rotary = "model.layers.0.self_attn.rotary_emb.inv_freq";
		const plain = { [Q]: ["F16", [4, 4]] as MadeTensor };
		const without = await writeModel(plain);
		const withThem = await writeModel({ ...plain, [rotary]: ["F32", [2]] });
		for (const [base, delta, side] of [
			[withThem, without, "base"],
			[without, withThem, "delta"],
		] as const) {
			const { exitCode, out, said } = await mergeModels(base, delta, ...ADD);
			expect(exitCode, said).toBe(0);
			expect(said).toContain(`1 tensor only the ${side} has, dropped`);
			expect(Object.keys(await headerOf(out))).not.toContain(rotary);
		}
	});

	test("case 137: base and delta need not have the same shards", async () => {
		const fixture = path.join(FIXTURES, "one-file-to-shards");
		const { exitCode, out } = await mergeModels(
			path.join(fixture, "base"),
			path.join(fixture, "delta"),
		);
		expect(exitCode).toBe(0);
		for (const i of [1, 2, 3]) {
			const name = `model-0000${i}-of-00003.safetensors`;
			const merged = await readFile(path.join(out, name));
			const expected = await readFile(path.join(fixture, "expected", name));
			expect(merged.equals(expected), name).toBe(true);
		}
	});
});

describe("the shards of the output", () => {
	const fixture = path.join(FIXTURES, "one-file-to-shards");
	const models = [
		path.join(fixture, "base"),
		path.join(fixture, "delta"),
	] as const;
	const expected = path.join(fixture, "expected");

	/** The names of the output's weight files, whose tensors are the right ones. */
	const shardsOf = async (...flags: string[]) => {
		const { exitCode, out, said } = await mergeModels(...models, ...flags);
		expect(exitCode, said).toBe(0);
		expect((await run("verify", out)).exitCode).toBe(0);
		expect((await run("compare", out, expected)).exitCode).toBe(0);
		const names = await readdir(out);
		return names.filter((name) => name.endsWith(".safetensors")).sort();
	};

	test("case 140: a tensor that is larger than a shard may be has one to itself", async () => {
		const shards = await shardsOf("--max-shard-size", "1kB");
		const { tensors } = await inspect(expected);
		const large = tensors.filter(({ byteLength }) => byteLength > 1000);
		expect(large.length).toBeGreaterThan(0);
		expect(shards.length).toBeGreaterThanOrEqual(large.length);
		expect(shards[0]).toMatch(/^model-00001-of-000\d\d\.safetensors$/);
		expect(shards.length).toBeLessThan(tensors.length);
	});

	test("one is enough where all fits", async () => {
		expect(await shardsOf("--max-shard-size", "5GB")).toEqual([
			"model.safetensors",
		]);
	});

	test("those of either side", async () => {
		expect(await shardsOf("--shards", "base")).toHaveLength(3);
		expect(await shardsOf("--shards", "delta")).toHaveLength(1);
	});

	test.each([
		[["--max-shard-size", "0"], "no size for a shard"],
		[["--max-shard-size", "5 apples"], "no amount of bytes"],
		[["--max-shard-size", "1GB", "--shards", "base"], "Leave out --shards"],
		[["--convention", "xor", "--shards", "base"], "knows no tensors"],
		[["--convention", "xor", "--max-shard-size", "1GB"], "knows no tensors"],
	])("%j is refused", async (flags, sentence) => {
		const { exitCode, out, said } = await mergeModels(...models, ...flags);
		expect(exitCode).toBe(2);
		expect(said).toContain(sentence);
		expect(existsSync(out)).toBe(false);
	});
});

describe("models that are not what they are given as", () => {
	const base = fullWeights(1, "F16");
	const target = tuned(base, 2, "F16");
	const write = async (weights: typeof base) =>
		writeWeights(await memoryFolder(), weights, "F16");

	test("case 134: whole weights in a delta's place", async () => {
		const { exitCode, said } = await mergeModels(
			...([await write(base), await write(target)] as const),
		);
		expect(exitCode).toBe(4);
		expect(said).toContain("full weights");
	});

	test("case 134: an adapter in a delta's place", async () => {
		const lora = await writeModel({ "q_proj.lora_A.weight": ["F16", [2, 4]] });
		const { exitCode, said } = await mergeModels(await write(base), lora);
		expect(exitCode).toBe(4);
		expect(said).toContain("an adapter");
		expect(said).toContain("merge_and_unload");
	});

	test("case 135: a base that is known as merged already", async () => {
		const vicuna =
			"5ed572be140240b212049a3e791271eed8a04c40bc732c91a4da4b1469db23b1";
		const root = await memoryFolder();
		const [blobs, snapshot] = [
			path.join(root, "blobs"),
			path.join(root, "snapshots", "1"),
		];
		await mkdir(blobs);
		await mkdir(snapshot, { recursive: true });
		const name = "model.safetensors";
		await rename(path.join(await write(base), name), path.join(blobs, vicuna));
		await symlink(path.join(blobs, vicuna), path.join(snapshot, name));
		const delta = await write(subtract(target, base, "F16"));
		const { exitCode, said } = await mergeModels(snapshot, delta, ...ADD);
		expect(exitCode, said).toBe(0);
		expect(said).toContain("already merged, found lmsys/vicuna-7b-v1.1");
	});

	test("case 136: configs that disagree with each other or with the embeddings", async () => {
		const tensors: Record<string, MadeTensor> = {
			[EMBEDDING]: ["F16", [8, 4]],
		};
		const config = (fields: object) => ({
			"config.json": JSON.stringify({ vocab_size: 8, ...fields }),
		});
		const warningsOf = async (ours: object, theirs: object) => {
			const { exitCode, said } = await mergeModels(
				...([await writeModel(tensors, config(ours))] as const),
				...([await writeModel(tensors, config(theirs)), ...ADD] as const),
			);
			expect(exitCode, said).toBe(0);
			return said.match(/^warning .*config(?:\.json says|s of).*$/gm) ?? [];
		};
		const same = { rope_theta: 1e4, hidden_act: "silu", max_length: 1 };
		const moved = { rope_parameters: { rope_theta: 1e4 }, hidden_act: "silu" };
		expect(await warningsOf(same, moved)).toEqual([]);
		const [told, ...more] = await warningsOf(same, {
			...{ rope_theta: 1e6, hidden_act: "gelu", rms_norm_eps: 1e-6 },
		});
		expect(more).toEqual([]);
		expect(told).toContain(
			'disagree, found hidden_act "silu" and "gelu", rope_theta 10000 and 1000000',
		);
		const [first, second] = await warningsOf(
			...[{ vocab_size: 9 }, { vocab_size: 7 }],
		);
		expect(first).toContain(`vocab_size 9, found 8 rows in ${EMBEDDING}`);
		expect(second).toContain("vocab_size 7, found 8 rows");
		for (const odd of ["[]", "null", '{"vocab_size":"8"}', '"x"', "{"]) {
			const folder = await writeModel(tensors, { "config.json": odd });
			expect(
				(await mergeModels(folder, await writeModel(tensors), ...ADD)).exitCode,
			).toBe(0);
		}
	});
});

describe("checksums that the inputs must have", () => {
	const sha256Of = async (...file: string[]) =>
		createHash("sha256")
			.update(await readFile(path.join(...file)))
			.digest("hex");
	const WRONG = "0".repeat(64);

	test("case 138: of one weight file", async () => {
		const [base, delta] = [
			await writeModel(many(2)),
			await writeModel(many(2)),
		];
		const right = await sha256Of(base, "model.safetensors");
		const mergeWith = (...flags: string[]) =>
			mergeModels(base, delta, ...ADD, "--allow-unlikely", ...flags);
		const both = [
			"--base-sha256",
			right.toUpperCase(),
			"--delta-sha256",
			right,
		];
		expect((await mergeWith(...both)).exitCode).toBe(0);
		for (const side of ["base", "delta"]) {
			const { exitCode, said } = await mergeWith(`--${side}-sha256`, WRONG);
			expect(exitCode).toBe(1);
			expect(said).toContain(`model.safetensors of the ${side}`);
			expect(said).toContain(`expected ${WRONG}, found ${right}`);
		}
		for (const flags of [
			["--base-sha256", right, "--no-input-sums"],
			["--base-sha256", "abc"],
			["--base-sha256", base],
			["--base-sha256", right.repeat(5)],
		])
			expect((await mergeWith(...flags)).exitCode).toBe(2);
	});

	test("case 138: of several files, by a list", async () => {
		const sides = ["base", "delta"].map((side) => path.join(LLAMA, side));
		const [base, delta] = sides as [string, string];
		const shard = (i: number) => `model-0000${i}-of-00003.safetensors`;
		const lines = await Promise.all(
			[1, 2, 3].map(
				async (i) => `${await sha256Of(base, shard(i))}  ${shard(i)}`,
			),
		);
		const list = path.join(await memoryFolder(), "SHA256SUMS");
		const mergeWith = async (...listed: (string | undefined)[]) => {
			await writeFile(list, `${listed.join("\n")}\n`);
			return mergeModels(base, delta, "--base-sha256", list);
		};
		const config = `${await sha256Of(base, "config.json")}  ./config.json`;
		expect((await mergeWith(...lines)).exitCode).toBe(0);
		expect((await mergeWith(...lines, config)).exitCode).toBe(0);
		for (const wrong of [
			[`${WRONG}  ${shard(1)}`, lines[1], lines[2]],
			[...lines, `${WRONG}  config.json`],
			[lines[0], lines[2]],
		])
			expect((await mergeWith(...wrong)).exitCode).toBe(1);
		expect((await mergeWith(...lines, "what")).exitCode).toBe(3);
		const one = await mergeModels(base, delta, "--base-sha256", WRONG);
		expect(one.said).toContain("one checksum for 3 weight files");
		expect(one.exitCode).toBe(2);
	});
});

describe("space and limits", () => {
	test.skipIf(process.platform === "win32")(
		"case 142: an output larger than the free space is refused before anything is written",
		async () => {
			const folder = await writeModel({});
			const file = path.join(folder, "model.safetensors");
			const { bavail, bsize } = await statfs(folder);
			const bytes = Math.floor((bavail * bsize) / 4096 + 2 ** 20) * 4096;
			const json = Buffer.from(
				`{"w":{"dtype":"F16","shape":[${bytes / 2}],"data_offsets":[0,${bytes}]}}`,
			);
			const length = Buffer.alloc(8);
			length.writeBigUInt64LE(BigInt(json.length));
			await writeFile(file, Buffer.concat([length, json]));
			await truncate(file, 8 + json.length + bytes);
			const { exitCode, said } = await mergeModels(
				...([folder, folder, ...ADD, "--allow-unlikely"] as const),
			);
			expect(said).toContain("not enough space");
			expect(said).toMatch(
				/expected \d+ free bytes, found \d+\. Free \d+ bytes/,
			);
			expect(exitCode).toBe(6);
		},
	);
});
