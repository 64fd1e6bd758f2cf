import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { LocalIoError, MergeDeltaError } from "../../../src/errors.ts";
import { INDEX_FILE_NAME } from "../../../src/format/shard-index.ts";
import { diskBefore } from "./crash-test.ts";
import { describeDisk, listTree, type Nodes } from "./disk.ts";
import { type Operation, SimFs, type SimOptions } from "./sim-fs.ts";
import { OUT, openTinyMerge, type TinyMerge } from "./tiny-merge.ts";

let merge: TinyMerge;
let expected = "";

beforeAll(async () => {
	const folder = await mkdtemp(path.join(tmpdir(), "merge-delta-"));
	merge = await openTinyMerge(folder);
	expected = describeDisk((await run(false)).sim.nodes);
	return async () => {
		await merge.close();
		await rm(folder, { recursive: true });
	};
});

async function run(
	overwrite: boolean,
	options: SimOptions = {},
	nodes = diskBefore(overwrite),
	boot = 1,
) {
	const sim = new SimFs(nodes, { seed: 1, ...options });
	const ran = await merge.run(sim, boot, { overwrite }).then(
		({ warnings }) => ({ warnings, error: null }),
		(error) => ({ warnings: [], error }),
	);
	return { sim, ...ran };
}

/** A run with a fault; what it threw, and what the same command makes of what it left. */
async function failAndGoOn(
	overwrite: boolean,
	fail: NonNullable<SimOptions["fail"]>,
) {
	const failed = await run(overwrite, { fail });
	const left = describeDisk(failed.sim.nodes);
	const isNew = expected
		.split("\n")
		.every((line) => left.split("\n").includes(line));
	if (failed.error === null) {
		expect(isNew).toBe(true);
		if (left !== expected)
			expect(failed.warnings.join()).toContain("could not be deleted");
		return null;
	}
	expect(failed.error).toBeInstanceOf(LocalIoError);
	const isOld = /^out(\.old-\w+)?\/file 8 /m.test(left);
	// All of the old, all of the new, or nothing at all.
	if (overwrite) expect(isOld || isNew).toBe(true);
	else expect(isNew || !/^out\//m.test(left)).toBe(true);
	const details = failed.error.fault.details?.join() ?? "";
	expect(details.includes("the output is there")).toBe(isNew);
	const again = await run(overwrite, {}, failed.sim.nodes, 2);
	expect(again.error).toBeNull();
	expect(describeDisk(again.sim.nodes)).toBe(expected);
	return failed.error;
}

/** What a run leaves that was stopped when some of its work was safe. */
async function leaveMidway(): Promise<Nodes> {
	let written = 0;
	const fail = ({ what, file }: Operation) =>
		what === "write" && file.includes("model-") && ++written > 4
			? "ENOSPC"
			: null;
	return (await run(false, { fail })).sim.nodes;
}

/** Those that are tried for good, too. */
const LASTING = new Set(["ENOSPC", "EIO", "EROFS"]);
const CODES = [
	["cases 143, 166", "ENOSPC"],
	["case 144", "EDQUOT"],
	["case 145", "EFBIG"],
	["cases 146, 148, 149", "EIO"],
	["case 149", "EXDEV"],
	["case 151", "EMFILE"],
	["case 152", "EROFS"],
] as const;

describe.each([
	["a new folder", false],
	["a folder that is replaced", true],
])("on the way to %s", (_, overwrite) => {
	test.each(CODES)(
		"%s: %s at any operation, once or from then on, is exit code 6, and the same command goes on",
		async (_, code) => {
			const { sim } = await run(overwrite);
			let failed = 0;
			for (let k = 0; k < sim.operations; k++)
				for (const isOnce of LASTING.has(code) ? [true, false] : [true]) {
					const error = await failAndGoOn(overwrite, (_, index) =>
						index === k || (index > k && !isOnce) ? code : null,
					);
					if (error !== null) failed++;
				}
			expect(failed).toBeGreaterThan(sim.operations / 2);
		},
		60_000,
	);
});

test("cases 143, 146, 148, 149, 166: every kind of operation is among them, on all that is written", async () => {
	const asked = new Set<string>();
	const plain = (file: string) =>
		path
			.basename(file)
			.replace(/-\d.*(?=\.safetensors)|\.(merge-delta-part|tmp)$/g, "");
	const watch = ({ what, file }: Operation) =>
		void asked.add(`${what} ${plain(file)}`);
	await run(false, { watch });
	const files = ["model.safetensors", INDEX_FILE_NAME, "config.json"];
	files.push("merge-delta.json", "SHA256SUMS", "plan.json", "journal");
	for (const what of ["create", "write", "sync", "close", "rename"])
		for (const file of files) expect(asked).toContain(`${what} ${file}`);
});

test("case 146: a read that fails, of what an earlier run has left, is exit code 6, and the same command goes on", async () => {
	const midway = await leaveMidway();
	const read: string[] = [];
	const watch = ({ what, file }: Operation) => {
		if (what === "read") read.push(path.basename(file));
	};
	await run(false, { watch }, midway, 2);
	for (const name of ["plan.json", "journal", "model-"])
		expect(read.join()).toContain(name);
	for (let k = 0; k < read.length; k++) {
		let reads = 0;
		const fail = ({ what }: Operation) =>
			what === "read" && reads++ === k ? "EIO" : null;
		const { sim, error } = await run(false, { fail }, midway, 2);
		expect(error).toBeInstanceOf(LocalIoError);
		const again = await run(false, {}, sim.nodes, 3);
		expect(again.error).toBeNull();
		expect(describeDisk(again.sim.nodes)).toBe(expected);
	}
});

test("case 147: a file whose fsync failed is not synced again, nor used", async () => {
	const syncs: string[] = [];
	const isShard = ({ what, file }: Operation) =>
		what === "sync" && file.includes("model-00001");
	const fail = (operation: Operation) => {
		if (isShard(operation)) syncs.push(operation.file);
		return isShard(operation) ? "EIO" : null;
	};
	const { sim, error } = await run(false, { fail });
	expect(error).toBeInstanceOf(LocalIoError);
	expect(error.message).toContain("flushing failed (EIO)");
	expect(syncs).toHaveLength(1);
	expect([...listTree(sim.nodes).keys()].join()).not.toContain("model-00001");
});

test("a failure of the journal names the file as it is called then", async () => {
	let syncs = 0;
	const fail = ({ what, file }: Operation) =>
		what === "sync" && file.includes("journal") && ++syncs > 1 ? "EIO" : null;
	const { error } = await run(false, { fail });
	expect(error.message).toContain("/journal: flushing failed (EIO)");
});

test("case 150: a file system that cannot sync folders is told of, and does", async () => {
	for (const code of ["EINVAL", "ENOTSUP"]) {
		const fail = ({ what }: Operation) => (what === "syncFolder" ? code : null);
		const sim = new SimFs(diskBefore(false), { fail });
		const { warnings } = await merge.run(sim, 1);
		expect(warnings.join()).toContain("cannot make the names of files durable");
		expect(describeDisk(sim.nodes)).toBe(expected);
	}
});

test("case 154: a write that takes fewer bytes than it was given goes on", async () => {
	const { sim, error } = await run(false, { shortWrites: true });
	expect(error).toBeNull();
	expect(describeDisk(sim.nodes)).toBe(expected);
});

test("case 143: a full disk says how much is safe, and the rest is all that is made then", async () => {
	let written = 0;
	const fail = ({ what, file }: Operation) =>
		what === "write" && file.includes("model-") && ++written > 4
			? "ENOSPC"
			: null;
	const { sim, error } = await run(false, { fail });
	const [detail] = error.fault.details;
	const safe = Number.parseInt(detail, 10);
	expect(detail).toMatch(/^\d+ of \d+ bytes are safe in .*out\.merge-delta: /);
	expect(safe).toBeGreaterThan(0);
	const again = new SimFs(sim.nodes);
	const { resumed } = await merge.run(again, 2);
	expect(resumed?.byteLength).toBe(safe);
	expect(describeDisk(again.nodes)).toBe(expected);
});

test("case 163: two processes that do not see each other's lock: no byte is wrong, and one of them is told", async () => {
	let done = 0;
	for (let seed = 0; seed < 40; seed++) {
		let count = 0;
		const runs: Promise<unknown>[] = [];
		// Of another start of the machine, so that it takes the first for gone, wherever that is.
		const watch = () => {
			if (count++ === 2 * seed) runs.push(merge.run(sim, 2));
		};
		const sim = new SimFs(diskBefore(false), { seed, watch });
		runs.push(merge.run(sim, 1));
		await runs.at(-1)?.catch(() => {});
		for (const each of await Promise.allSettled(runs)) {
			if (each.status === "fulfilled") done++;
			else expect(each.reason).toBeInstanceOf(MergeDeltaError);
		}
		const left = describeDisk(sim.nodes);
		if (!/^out\//m.test(left)) {
			const again = await run(false, {}, sim.nodes, 3);
			expect(again.error).toBeNull();
		}
		const isOut = (line: string) => line.startsWith("out/");
		const out = left.split("\n").filter(isOut);
		if (out.length > 0) expect(out).toEqual(expected.split("\n"));
	}
	expect(done).toBeGreaterThan(10);
});

test("a folder that was moved away for one that never came is put back, whatever the next run comes to", async () => {
	const { sim } = await run(true);
	let between: Nodes | null = null;
	const watch = ({ what, to }: Operation, { nodes }: SimFs) => {
		if (what === "rename" && to === OUT) between = new Map(nodes);
	};
	await run(true, { watch });
	expect(describeDisk(between ?? sim.nodes)).toMatch(/^out\.old-\w+\/file/m);
	const fail = ({ what }: Operation) => (what === "write" ? "ENOSPC" : null);
	const next = new SimFs(between ?? sim.nodes, {
		fail: (operation) =>
			operation.file.endsWith("owner.json") ? null : fail(operation),
	});
	await expect(merge.run(next, 2, { overwrite: true })).rejects.toThrow(
		LocalIoError,
	);
	expect(describeDisk(next.nodes)).toMatch(/^out\/file 8/m);
});
