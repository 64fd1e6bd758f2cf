import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { OutputShard } from "../../src/delta/plan.ts";
import type { Step } from "../../src/engine/step.ts";
import {
	LocalIoError,
	MismatchError,
	NetworkError,
	PlannedBySpoilt,
	SpoiltOnItsWay,
	VerificationError,
} from "../../src/errors.ts";
import type { FileSource } from "../../src/io/file-source.ts";
import { diskBefore } from "./crash/crash-test.ts";
import { type Content, describeDisk, listTree } from "./crash/disk.ts";
import { SimFs, type SimOptions } from "./crash/sim-fs.ts";
import { OUT, openTinyMerge, type TinyMerge } from "./crash/tiny-merge.ts";

let merge: TinyMerge;
let done: SimFs;

beforeAll(async () => {
	const folder = await mkdtemp(path.join(tmpdir(), "merge-delta-"));
	merge = await openTinyMerge(folder);
	done = new SimFs(diskBefore(false));
	await merge.run(done, 1);
	return async () => {
		await merge.close();
		await rm(folder, { recursive: true });
	};
});

const newDisk = () => new SimFs(diskBefore(false));

test("a shard is published only if it is what its publisher made", async () => {
	const [first, ...others] = merge.plan.shards as [OutputShard];
	const made = listTree(done.nodes).get(`out/${first.fileName}`) as Content;
	const right = createHash("sha256").update(made.bytes).digest("hex");
	for (const sha256 of [right, "0".repeat(64)]) {
		const sim = newDisk();
		const plan = { shards: [{ ...first, sha256 }, ...others] };
		const error = await merge.run(sim, 2, {}, { plan }).catch((error) => error);
		expect(sim.find(OUT) !== null).toBe(sha256 === right);
		if (sha256 === right) continue;
		expect(error).toBeInstanceOf(VerificationError);
		expect(error.fault).toMatchObject({ where: first.fileName, found: right });
		expect(describeDisk(sim.nodes)).toBe("");
	}
});

/** The inputs, those files of the delta with nothing but the largest number, and the base too. */
function largest(inDelta: (shard: number) => boolean) {
	const read: FileSource["read"] = async (fileOffset, into) => {
		for (let i = 0; i < into.length; i++)
			into[i] = (fileOffset + i) % 2 === 0 ? 0xff : 0x7b;
	};
	const [base = [], delta = []] = merge.opened.sources;
	const sources = [
		base.map((source) => ({ ...source, read })),
		delta.map((each, i) => (inDelta(i) ? { ...each, read } : each)),
	];
	return { sources };
}

test("where sums overflow it is told in which tensors, and nothing published", async () => {
	for (const [opened, what, last] of [
		[
			largest(() => true),
			"in 4 tensors, so",
			"model.norm.weight: 960 elements",
		],
		[
			largest((i) => i === 1),
			"in 1 tensor, so",
			"model.norm.weight: 960 elements",
		],
	] as const) {
		const sim = newDisk();
		const options = { allowNonFinite: false };
		const running = merge.run(sim, 2, options, { opened });
		const error = await running.catch((error) => error);
		expect(error).toBeInstanceOf(MismatchError);
		expect(error.message).toContain(`became infinite ${what}`);
		expect(error.fault.details).toContain(last);
		expect(describeDisk(sim.nodes)).toBe("");
	}
	const infinite = newDisk(); // of infinities, which is no overflow
	await merge.run(infinite, 2, { allowNonFinite: false });
	expect(describeDisk(infinite.nodes)).toBe(describeDisk(done.nodes));
});

describe("while the inputs come", () => {
	test("the work stops them when it fails, and what it failed from is thrown once they have stopped", async () => {
		const order: string[] = [];
		const bring = (signal: AbortSignal) =>
			new Promise<void>((_, reject) => {
				signal.onabort = () => {
					order.push("stopped");
					setTimeout(() => {
						order.push("ended");
						reject(new Error("no more"));
					});
				};
			});
		const sim = new SimFs(diskBefore(false), {
			fail: ({ what, file }) =>
				what === "write" && file.includes("model-00002") ? "EIO" : null,
		});
		const running = merge.run(sim, 2, {}, { opened: { bring } });
		await expect(running).rejects.toThrow(LocalIoError);
		expect(order).toEqual(["stopped", "ended"]);
	});

	test.each([
		[NetworkError, true],
		[SpoiltOnItsWay, true],
		[PlannedBySpoilt, false],
	])(
		"%o stops the merge, and what is safe is kept: %s",
		async (Kind, isKept) => {
			const sim = newDisk();
			const fault = { where: "a file", what: "gone" };
			const bring = () => Promise.reject(new Kind(fault));
			const running = merge.run(sim, 2, {}, { opened: { bring } });
			await expect(running).rejects.toThrow(Kind);
			expect(sim.find(OUT)).toBeNull();
			const { resumed } = await merge.run(sim, 3);
			expect(resumed !== null).toBe(isKept);
			expect(describeDisk(sim.nodes)).toBe(describeDisk(done.nodes));
		},
	);
});

/** The delta's files as they are where they pass: not in the order of the output. */
function passing(): { sources: FileSource[][] } {
	const [base = [], delta = []] = merge.opened.sources;
	const passes = delta.map((source): FileSource => {
		const finish = async () => "ab".repeat(32);
		const readAgain: FileSource["read"] = (...args) => source.read(...args);
		return { ...source, passing: { readAgain, finish, trust: finish } };
	});
	return { sources: [[...base], passes] };
}

test("a shard that is made out of order is read once more for its checksum, and is the same bytes", async () => {
	const reads: string[] = [];
	const sim = new SimFs(diskBefore(false), {
		watch: ({ what, file }) => {
			if (what === "read") reads.push(path.basename(file));
		},
	});
	await merge.run(sim, 2, {}, { opened: passing() });
	for (const { fileName } of merge.plan.shards)
		expect(reads.join()).toContain(fileName);
	const shards = (of: SimFs) =>
		describeDisk(of.nodes)
			.split("\n")
			.filter((line) => line.includes("model-"));
	expect(shards(sim)).toEqual(shards(done));
});

describe("a thread that dies is told of, by nothing else than the merge,", () => {
	let perform: TinyMerge["engine"]["crew"]["perform"] | null = null;
	afterEach(() => {
		if (perform) merge.engine.crew.perform = perform;
	});

	/** Merge while no step of a kind can be done. */
	async function runWithout(kind: Step["kind"], sim: SimFs, passes: boolean) {
		const { crew } = merge.engine;
		const original = crew.perform.bind(crew);
		perform = original;
		crew.perform = async (step) => {
			if (step.kind === kind) throw new Error("a worker thread ended");
			return original(step);
		};
		const opened = passes ? passing() : {};
		await merge.run(sim, 2, {}, { opened });
	}

	test.each([
		["peek", false],
		["finish", false],
		["finish", true],
	] as const)(
		"at a %s of a checksum, of files that pass: %s",
		async (...given) => {
			const [kind, passes] = given;
			const sim = newDisk();
			const running = runWithout(kind, sim, passes);
			await expect(running).rejects.toThrow("a worker thread ended");
			expect(sim.find(OUT)).toBeNull();
		},
	);

	test("also when a checksum is of no use any more, because the disk is full", async () => {
		const fail: SimOptions["fail"] = ({ what, file }) =>
			what === "write" && file.includes("model-") ? "ENOSPC" : null;
		const sim = new SimFs(diskBefore(false), { fail });
		const running = runWithout("peek", sim, false);
		await expect(running).rejects.toThrow(LocalIoError);
	});
});
