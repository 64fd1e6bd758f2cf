import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import type { MergePlan } from "../../../src/delta/plan.ts";
import { Engine } from "../../../src/engine/engine.ts";
import { decideEngineOptions } from "../../../src/engine/engine-options.ts";
import {
	makeOutput,
	type PublishOptions,
	type PublishReport,
} from "../../../src/engine/publish.ts";
import type { OpenInputs } from "../../../src/engine/write-output.ts";
import {
	encodeHeader,
	headerBytes,
} from "../../../src/format/safetensors-writer.ts";
import {
	encodeShardIndex,
	INDEX_FILE_NAME,
} from "../../../src/format/shard-index.ts";
import { shardFileName } from "../../../src/format/shard-name.ts";
import { plan } from "../../../src/index.ts";
import type { FileSource } from "../../../src/io/file-source.ts";
import type { FileSystem } from "../../../src/io/file-system.ts";
import { SIM_ROOT } from "./sim-fs.ts";

const SLICE_BYTES = 4096;
const WIDTH = 64;
/** Rows of each tensor; those of the delta's embedding are one more. */
const ROWS = {
	"model.embed_tokens.weight": 20,
	"model.layers.0.mlp.up_proj.weight": 70,
	"model.layers.0.mlp.down_proj.weight": 50,
	"model.norm.weight": 15,
};

/** Where the simulated merges have their output. */
export const OUT = path.join(SIM_ROOT, "out");

/** A merge of a few dozen kilobytes, with several shards, grown rows and side files, that runs in this thread. */
export interface TinyMerge {
	plan: MergePlan;
	opened: OpenInputs;
	engine: Engine;
	/**
	 * Merge, as a process of its own does.
	 *
	 * @param boot     unlike that of every process before
	 * @param changed  what is not as it is here
	 */
	run(
		files: FileSystem,
		boot: number,
		options?: Partial<PublishOptions>,
		changed?: { plan?: Partial<MergePlan>; opened?: Partial<OpenInputs> },
	): Promise<PublishReport>;
	close(): Promise<void>;
}

/** Write a base and a delta of several shards, with a row more, for the convention `fastchat-v0`. */
export async function writeTinyModels(
	folder: string,
): Promise<{ base: string; delta: string }> {
	const [base, delta] = [path.join(folder, "base"), path.join(folder, "delta")];
	await writeModel(base, { limit: 2, seed: 1, rows: ROWS });
	const rows = {
		...ROWS,
		"model.embed_tokens.weight": ROWS["model.embed_tokens.weight"] + 1,
	};
	await writeModel(delta, { limit: 3, seed: 2, rows });
	return { base, delta };
}

/** @param folder  empty, for the inputs, which are read once */
export async function openTinyMerge(folder: string): Promise<TinyMerge> {
	const { base, delta } = await writeTinyModels(folder);
	const planned = await plan({ base, delta, convention: "fastchat-v0" });
	const contents = new Map<string, Uint8Array>();
	for (const side of [base, delta])
		for (const name of await readdir(side))
			contents.set(
				path.join(path.basename(side), name),
				await readFile(path.join(side, name)),
			);
	const source = (side: string, name: string) =>
		memorySource(name, contents.get(path.join(side, name)) as Uint8Array);
	const opened: OpenInputs = {
		locations: [],
		sources: planned.plan.inputs.map(({ side, shards }) =>
			shards.map(({ fileName }) => source(side, fileName)),
		),
		openSideFile: async (from, fileName) => source(from, fileName),
		withOrigin: (file) => file,
		diskNeeds: [],
		bring: async () => {},
	};
	const engine = openSmallEngine();
	return {
		...{ plan: planned.plan, opened, engine },
		run: (files, boot, options = {}, changed = {}) => {
			const self = {
				host: "sim",
				bootId: `boot ${boot}`,
				pid: 1,
				startTime: "",
			};
			const place = { out: OUT, files, self };
			const all = { out: OUT, allowNonFinite: true, ...options };
			const merged = { ...planned.plan, ...changed.plan };
			const inputs = { ...opened, ...changed.opened };
			return makeOutput(merged, inputs, place, engine, all);
		},
		close: () => engine.close(),
	};
}

/** An engine with small slices, two of which are claimed together, and two shards at once. */
function openSmallEngine(): Engine {
	const choices = { kernel: "js", syncBytes: 2 * SLICE_BYTES } as const;
	const engine = new Engine(decideEngineOptions(choices), 1);
	Object.defineProperty(engine.crew, "threads", { value: 2 });
	return engine;
}

/** Write a model of F16 tensors of 64 columns, at most `limit` of them in a shard. */
export async function writeModel(
	folder: string,
	{
		limit,
		seed,
		rows,
	}: { limit: number; seed: number; rows: Record<string, number> },
) {
	await mkdir(folder);
	const all = Object.entries(rows).map(([name, count]) => ({
		...{ name, dtype: "F16" as const, shape: [count, WIDTH] },
	}));
	const shardCount = Math.ceil(all.length / limit);
	const weightMap = new Map<string, string>();
	let elements = 0;
	for (let shard = 0; shard < shardCount; shard++) {
		const mine = all.slice(shard * limit, (shard + 1) * limit);
		const fileName = shardFileName(shard, shardCount);
		for (const { name } of mine) weightMap.set(name, fileName);
		const { json, tensors } = encodeHeader(mine, null, fileName);
		const data = new Uint8Array(tensors.at(-1)?.dataOffsets[1] ?? 0);
		let state = seed * 7919 + shard;
		for (let i = 0; i < data.length; i++) {
			state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
			data[i] = (state >>> 24) & 0xbb;
			// Infinite here and there, so that there is something to count.
			if (i % 3001 === 1) data.set([0x00, 0x7c], i - 1);
		}
		elements += data.length / 2;
		const bytes = Buffer.concat([headerBytes(json), data]);
		await writeFile(path.join(folder, fileName), bytes);
	}
	await writeFile(
		path.join(folder, INDEX_FILE_NAME),
		encodeShardIndex(weightMap, elements * 2, elements),
	);
	const config = {
		vocab_size: rows["model.embed_tokens.weight"],
		hidden_size: WIDTH,
	};
	await writeFile(
		path.join(folder, "config.json"),
		`${JSON.stringify(config)}\n`,
	);
	await writeFile(path.join(folder, "tokenizer.json"), `{"of":"${folder}"}\n`);
}

function memorySource(name: string, bytes: Uint8Array): FileSource {
	return {
		...{ path: name, byteLength: bytes.length, identity: "1" },
		isDirect: false,
		read: async (at, into) => {
			if (at + into.length > bytes.length) throw new RangeError(name);
			into.set(bytes.subarray(at, at + into.length));
		},
		chooseReading: async () => {},
		checkUnchanged: async () => {},
		close: async () => {},
	};
}
