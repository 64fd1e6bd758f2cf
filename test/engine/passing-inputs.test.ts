import { readdir } from "node:fs/promises";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { INPUT } from "../../src/delta/plan.ts";
import { Engine } from "../../src/engine/engine.ts";
import { decideEngineOptions } from "../../src/engine/engine-options.ts";
import { makeOutput, type PublishOptions } from "../../src/engine/publish.ts";
import {
	PlannedBySpoilt,
	SpoiltOnItsWay,
	VerificationError,
} from "../../src/errors.ts";
import { plan } from "../../src/index.ts";
import { type FileSource, openFileSource } from "../../src/io/file-source.ts";
import { LOCAL_FILES } from "../../src/io/file-system.ts";
import { thisProcess } from "../../src/io/owner.ts";
import { scratchFolder } from "../end-to-end/run.ts";
import { writeModel } from "./crash/tiny-merge.ts";

const ROWS = { "a.weight": 900, "b.weight": 400, "c.weight": 700 };
const FAULT = { where: "a file", what: "spoilt" };

/** Lets a file's checksum be known when a test says so. */
class Passage {
	readonly calls: string[] = [];
	right = () => {};
	wrong: (error: unknown) => void = () => {};
	private readonly known: Promise<string>;

	constructor(readAgain: FileSource["read"]) {
		this.known = new Promise((resolve, reject) => {
			this.right = () => resolve("ab".repeat(32));
			this.wrong = reject;
		});
		this.known.catch(() => {});
		this.readAgain = readAgain;
	}

	readonly readAgain: FileSource["read"];

	finish(): Promise<string> {
		this.calls.push("finish");
		return this.known;
	}

	async trust(): Promise<string> {
		this.calls.push("trust");
		return "cd".repeat(32);
	}
}

/** A merge of three shards, each of another file of the delta, which passes. */
async function models() {
	const folder = await scratchFolder();
	const [base, delta] = [path.join(folder, "b"), path.join(folder, "d")];
	await writeModel(base, { limit: 1, seed: 1, rows: ROWS });
	await writeModel(delta, { limit: 1, seed: 2, rows: ROWS });
	const { plan: planned } = await plan({ base, delta, convention: "add" });
	const outFolder = await scratchFolder();
	const out = path.join(outFolder, "out");
	const sizes = planned.shards.map(({ byteLength }) => byteLength);
	/** Merge once. @param begin  called once all shards are written */
	const run = async (
		begin: (passages: Passage[]) => void,
		options: Partial<PublishOptions> = {},
	) => {
		const passages: Passage[] = [];
		const sources: FileSource[][] = [];
		for (const [input, { shards }] of planned.inputs.entries()) {
			const files: FileSource[] = [];
			for (const { fileName } of shards) {
				const at = path.join(input === INPUT.base ? base : delta, fileName);
				const file = await openFileSource(at);
				onTestFinished(() => file.close());
				if (input === INPUT.delta) {
					const passing = new Passage((...args) => file.read(...args));
					passages.push(passing);
					Object.defineProperty(file, "passing", { value: passing });
				}
				files.push(file);
			}
			sources.push(files);
		}
		// Otherwise so small a model is not worth a claim.
		const choices = { kernel: "js", syncBytes: 2 ** 13 } as const;
		const engine = new Engine(decideEngineOptions(choices), 1);
		onTestFinished(() => engine.close());
		const opened = {
			...{ locations: [], sources, diskNeeds: [] },
			openSideFile: (side: string, fileName: string) =>
				openFileSource(path.join(side === "base" ? base : delta, fileName)),
			withOrigin: <T>(file: T) => file,
			bring: async () => {},
		};
		const place = { out, files: LOCAL_FILES, self: await thisProcess() };
		let isWritten = false;
		const done = await makeOutput(planned, opened, place, engine, {
			...{ out, allowNonFinite: true },
			...options,
			onProgress: (progress) => {
				options.onProgress?.(progress);
				if (isWritten || progress.writtenBytes < progress.totalBytes) return;
				isWritten = true;
				begin(passages);
			},
		}).catch((error) => error);
		return { done, calls: passages.map(({ calls }) => calls) };
	};
	return { sizes, out, outFolder, run };
}

/** Let the second file be right, and then the first wrong. */
function spoil(error: Error) {
	let first: Passage | undefined;
	return {
		begin: (passages: Passage[]) => {
			first = passages[0];
			passages[1]?.right();
		},
		onProgress: ({ safeBytes }: { safeBytes: number }) => {
			if (safeBytes > 0) first?.wrong(error);
		},
	};
}

test("a shard is safe once the file it is made of is right, and then that need not pass again", async () => {
	const { sizes, outFolder, run } = await models();
	const { begin, onProgress } = spoil(new SpoiltOnItsWay(FAULT));
	const { done: error, calls } = await run(begin, { onProgress });
	expect(error).toBeInstanceOf(SpoiltOnItsWay);
	expect(error.fault.details.at(-1)).toMatch(`${sizes[1]} of `);
	expect(calls).toEqual([["finish"], ["finish"], ["finish"]]);
	expect(await readdir(outFolder)).toEqual(["out.merge-delta"]);

	const again = await run((passages) => {
		for (const passage of passages) passage.right();
	});
	const { resumed, manifest } = again.done;
	expect(resumed).toEqual({ shards: 1, byteLength: sizes[1] });
	expect(again.calls).toEqual([["finish"], ["trust"], ["finish"]]);
	const sums = manifest.inputs.flatMap(
		({ from, sha256 }: { from: string; sha256: string }) =>
			from === "delta" ? [sha256.slice(0, 2)] : [],
	);
	expect(sums.slice(0, 3)).toEqual(["ab", "cd", "ab"]);
	expect(await readdir(outFolder)).toEqual(["out"]);
});

test.each([PlannedBySpoilt, VerificationError])(
	"%o leaves nothing, because all was made by a plan that is wrong",
	async (Kind) => {
		const { outFolder, run } = await models();
		const { begin, onProgress } = spoil(new Kind(FAULT));
		const { done: error } = await run(begin, { onProgress });
		expect(error).toBeInstanceOf(Kind);
		expect(await readdir(outFolder)).toEqual([]);
	},
);
