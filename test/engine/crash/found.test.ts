import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import type { PlanInput } from "../../../src/delta/plan.ts";
import { MANIFEST_FILE_NAME } from "../../../src/engine/manifest.ts";
import { outputBytes } from "../../../src/engine/staged-run.ts";
import type { OpenInputs } from "../../../src/engine/write-output.ts";
import { OutputConflictError } from "../../../src/errors.ts";
import { CHECKSUM_FILE_NAME } from "../../../src/format/checksum-file.ts";
import type { FileSource } from "../../../src/io/file-source.ts";
import { diskBefore } from "./crash-test.ts";
import { Content, describeDisk, type Nodes } from "./disk.ts";
import { type Operation, SimFs, type SimOptions } from "./sim-fs.ts";
import { OUT, openTinyMerge, type TinyMerge } from "./tiny-merge.ts";

const ROOT = `${OUT}.merge-delta`;

let merge: TinyMerge;
let expected = "";

beforeAll(async () => {
	const folder = await mkdtemp(path.join(tmpdir(), "merge-delta-"));
	merge = await openTinyMerge(folder);
	const sim = new SimFs(diskBefore(false));
	await merge.run(sim, 1);
	expected = describeDisk(sim.nodes);
	return async () => {
		await merge.close();
		await rm(folder, { recursive: true });
	};
});

type Changed = Parameters<TinyMerge["run"]>[3];

/** What a run leaves for which some operations fail. */
async function leave(
	fails: (operation: Operation) => boolean,
	overwrite = false,
	changed?: Changed,
): Promise<Nodes> {
	const fail = (operation: Operation) => (fails(operation) ? "EIO" : null);
	const sim = new SimFs(diskBefore(overwrite), { fail });
	await merge.run(sim, 1, { overwrite }, changed).catch(() => {});
	return sim.nodes;
}

const isAppearance = ({ what, to }: Operation) =>
	what === "rename" && to === OUT;

/** When all is there, and only the rename is missing that makes it appear. */
const leaveUnpublished = () => leave(isAppearance);

/** When the output has appeared, and its staging folder is there still. */
const leavePublished = (changed?: Changed) =>
	leave(
		({ what, file }) => what === "removeFolder" && file === ROOT,
		...([false, changed] as const),
	);

/** The only name in a folder that is like this. */
async function pathIn(sim: SimFs, folder: string, name: RegExp) {
	const entries = await sim.list(folder);
	const found = entries.filter((entry) => name.test(entry.name));
	expect(found).toHaveLength(1);
	return path.join(folder, found[0]?.name as string);
}

const mergedIn = (sim: SimFs) => pathIn(sim, ROOT, /^merged\./);

/** Write into a file, which need not be there yet. */
async function put(sim: SimFs, file: string, text: string, fileOffset = 0) {
	const isThere = sim.find(file) !== null;
	const handle = await (isThere ? sim.open(file) : sim.create(file));
	await handle.write(fileOffset, Buffer.from(text));
}

/** Run on a disk, and let it end with the expected bytes. @returns how many of them were not made again */
async function goOn(nodes: Nodes, options: SimOptions = {}): Promise<number> {
	const sim = new SimFs(nodes, options);
	const { resumed } = await merge.run(sim, 2);
	expect(describeDisk(sim.nodes)).toBe(expected);
	return resumed?.byteLength ?? 0;
}

/** A disk without what a run changes in it that is refused: who it belongs to. */
function describeOthers(nodes: Nodes): string {
	return describeDisk(nodes)
		.replaceAll(/(?<=merged\.)[0-9a-f]{12}/g, "")
		.replaceAll(/^.*\/owner\.json.*\n?/gm, "");
}

/** Run on a disk, and let it be refused with nothing touched. */
async function expectRefusal(
	nodes: Nodes,
	what: string,
	changed?: Changed,
): Promise<OutputConflictError> {
	const sim = new SimFs(nodes);
	const error = await merge.run(sim, 2, {}, changed).catch((error) => error);
	expect(error).toBeInstanceOf(OutputConflictError);
	expect(error.message).toContain(what);
	expect(describeOthers(sim.nodes)).toBe(describeOthers(nodes));
	return error;
}

describe("of a whole shard as much is used as was claimed and is so, where it is found", () => {
	const claimed = () => merge.engine.options.syncBytes;
	const whole = () => merge.plan.shards[0]?.byteLength as number;
	test.each([
		["as it was", async () => {}, whole],
		["longer", (sim, file) => put(sim, file, "more", whole()), whole],
		["with other bytes", (sim, file) => put(sim, file, "x", 9000), claimed],
		["with another start", (sim, file) => put(sim, file, "x"), () => 0],
		["cut", async (sim, file) => cut(sim, file, 9000), claimed],
		["cut near its start", (sim, file) => cut(sim, file, 100), () => 0],
	] as [string, (sim: SimFs, file: string) => Promise<void>, () => number][])(
		"%s",
		async (_, change, left) => {
			const sim = new SimFs(await leaveUnpublished());
			await change(sim, await pathIn(sim, await mergedIn(sim), /^model-00001/));
			const others = outputBytes(merge.plan) - whole();
			expect(await goOn(sim.nodes)).toBe(others + left());
		},
	);

	async function cut(sim: SimFs, file: string, byteLength: number) {
		await (await sim.open(file)).truncate(byteLength);
	}
});

test("shards that were begun are closed where the rest cannot be removed", async () => {
	const sim = new SimFs(await leaveUnpublished());
	const merged = await mergedIn(sim);
	for (const { fileName } of merge.plan.shards)
		await put(sim, path.join(merged, fileName), "x", 8500);
	const [opened, closed] = [new Set<string>(), new Set<string>()];
	const next = new SimFs(sim.nodes, {
		watch: ({ what, file }) => {
			const [name = ""] = path.basename(file).split(".merge-delta-part");
			if (what === "open") opened.add(name);
			if (what === "close") closed.add(name);
		},
		fail: ({ what, file }) =>
			what === "removeFile" && file.endsWith("config.json") ? "EIO" : null,
	});
	await expect(merge.run(next, 2)).rejects.toThrow(/config.json: removing/);
	expect([...opened].join()).toContain("model-00002");
	expect([...closed]).toEqual(expect.arrayContaining([...opened]));
	expect(await goOn(next.nodes)).toBeGreaterThan(0);
});

describe("refused, and left as it is, is", () => {
	test("a file that is not of the merge", async () => {
		for (const isInside of [false, true]) {
			const sim = new SimFs(await leaveUnpublished());
			const folder = isInside ? await mergedIn(sim) : ROOT;
			await put(sim, path.join(folder, "mine"), "precious");
			await expectRefusal(sim.nodes, "mine: not a file of this merge");
		}
	});

	test("a second folder of files", async () => {
		const sim = new SimFs(await leaveUnpublished());
		await sim.makeFolder(path.join(ROOT, "merged.0123456789ab"));
		await expectRefusal(sim.nodes, "merged.0123456789ab: not a file of");
	});

	test("what belongs to a process of another machine", async () => {
		const sim = new SimFs(await leaveUnpublished());
		const owner = { host: "elsewhere", bootId: "", pid: 7, startTime: "" };
		await put(sim, path.join(ROOT, "owner.json"), JSON.stringify(owner));
		await expectRefusal(sim.nodes, "in use by process 7 on elsewhere");
	});

	test("case 163: what another makes its own in the same moment", async () => {
		const owner = path.join(ROOT, "owner.json");
		const other = new Content(Buffer.from("another's"));
		const ways: SimOptions[] = [
			{
				// before the note is made
				fail: ({ what, file }) =>
					what === "create" && file === owner ? "EEXIST" : null,
			},
			{
				// before it is written, and is about to make its own
				fail: ({ what, file }) =>
					what === "open" && file === owner ? "ENOENT" : null,
			},
			{
				// before it is written
				watch: ({ what, file }, sim) => {
					if (what === "open" && file === owner)
						sim.nodes.set(sim.find(owner) as number, other);
				},
			},
		];
		for (const way of ways) {
			const sim = new SimFs(await leaveUnpublished(), way);
			const left = describeOthers(sim.nodes);
			await expect(merge.run(sim, 2)).rejects.toThrow("in use by another");
			expect(describeOthers(sim.nodes)).toBe(left);
		}
	});

	test("an output that is there, whether or not a merge to it was begun", async () => {
		await expectRefusal(diskBefore(true), "the output exists already");
		const sim = new SimFs(await leaveUnpublished());
		await sim.makeFolder(OUT);
		await put(sim, path.join(OUT, "mine"), "precious");
		await expectRefusal(sim.nodes, "the output exists already");
	});

	test.each([
		["a shard", "model-00001-of-00002.safetensors", 9000, "x"],
		["the manifest", MANIFEST_FILE_NAME, 0, "x"],
		["the list of checksums", CHECKSUM_FILE_NAME, 64, "  /x\n"],
	])(
		"an output that was published, of which %s has changed",
		async (...given) => {
			const [, name, fileOffset, text] = given;
			const nodes = await leavePublished();
			expect(await goOn(nodes)).toBe(outputBytes(merge.plan));
			const sim = new SimFs(nodes);
			await put(sim, path.join(OUT, name), text, fileOffset);
			await expectRefusal(sim.nodes, "the output exists already");
		},
	);

	test("an output of another plan that was published", async () => {
		const nodes = await leavePublished({ plan: { convention: "add" } });
		await expectRefusal(nodes, "the output exists already");
	});

	test("an unfinished merge of other inputs, each of which is named", async () => {
		const nodes = await leaveUnpublished();
		const [base, delta] = merge.plan.inputs as [PlanInput, PlanInput];
		const inputs = [base, { ...delta, side: "target" as const }];
		const { fault } = await expectRefusal(nodes, "of inputs that have", {
			...{ plan: { inputs }, opened: FROM_HUB },
		});
		expect(fault.details).toEqual([
			expect.stringMatching(/^planId: there "\w+", now "\w+"$/),
			`base ${base.shards[0]?.fileName}: there "1", now "org/name@12ab"`,
			`base ${base.shards[1]?.fileName}: there "1", now "org/name@12ab"`,
			`delta ${delta.shards[0]?.fileName}: there "1", now nothing`,
			`delta ${delta.shards[1]?.fileName}: there "1", now nothing`,
			`target ${delta.shards[0]?.fileName}: there nothing, now "org/name@12ab"`,
			`target ${delta.shards[1]?.fileName}: there nothing, now "org/name@12ab"`,
		]);
	});
});

const FROM_HUB: Partial<OpenInputs> = {
	withOrigin: (file) => ({ ...file, repository: "org/name", commit: "12ab" }),
};

function fromHub(changes: Partial<FileSource>) {
	const sources = merge.opened.sources.map((side) =>
		side.map((source) => ({ ...source, ...changes })),
	);
	return { ...FROM_HUB, sources };
}

test("files of one commit that were fetched are the same wherever they lie", async () => {
	const fetched = fromHub({ ready: async () => {} });
	const nodes = await leave(isAppearance, false, { opened: fetched });
	const opened = fromHub({ identity: "2" });
	const { resumed } = await merge.run(new SimFs(nodes), 2, {}, { opened });
	expect(resumed?.shards).toBe(2);
});

test("files of one commit that lay in the cache are not, once they were replaced", async () => {
	const nodes = await leave(isAppearance, false, { opened: FROM_HUB });
	const opened = fromHub({ identity: "2" });
	const running = merge.run(new SimFs(nodes), 2, {}, { opened });
	await expect(running).rejects.toThrow(OutputConflictError);
});

test("another merge of which nothing is safe is no obstacle", async () => {
	let isFull = false;
	const fails = ({ what, file }: Operation) => {
		isFull ||= what === "write" && file.includes("model-");
		return isFull;
	};
	const other = { plan: { convention: "add" } } as const;
	const nodes = await leave(fails, false, other);
	expect(describeDisk(nodes)).toContain("out.merge-delta/plan.json");
	expect(await goOn(nodes)).toBe(0);
});

test("an empty folder gives way to the output", async () => {
	const sim = new SimFs(diskBefore(false));
	await sim.makeFolder(OUT);
	let isRemoved = false;
	// As where nothing can be renamed to a folder that is there.
	await goOn(sim.nodes, {
		fail: ({ what, file, to }) => {
			isRemoved ||= what === "removeFolder" && file === OUT;
			return to === OUT && !isRemoved ? "EEXIST" : null;
		},
	});
	// As where the rename does it alone.
	await goOn(sim.nodes, {
		fail: ({ what, file }) =>
			what === "removeFolder" && file === OUT ? "EBUSY" : null,
	});
});

test("a part of a file that comes while it is made is not published", async () => {
	let putting: Promise<void> | null = null;
	const sim = new SimFs(diskBefore(false), {
		watch: ({ what, file }) => {
			if (what !== "close" || !file.endsWith("SHA256SUMS.merge-delta-part"))
				return;
			const part = path.join(file, "../config.json.merge-delta-part");
			putting = put(sim, part, "x");
		},
	});
	await expect(merge.run(sim, 1)).rejects.toThrow(
		/config\.json\.merge-delta-part: not a file of this merge/,
	);
	await putting;
	expect(sim.find(OUT)).toBeNull();
});

test("files that cannot be taken over are nobody's, whatever of the owner's note can be removed", async () => {
	const nodes = await leaveUnpublished();
	for (const isStuck of [false, true]) {
		const sim = new SimFs(nodes, {
			fail: ({ what, file }) =>
				(what === "rename" && file.includes("merged.")) ||
				(what === "removeFile" && isStuck)
					? "EIO"
					: null,
		});
		const running = merge.run(sim, 2);
		await expect(running).rejects.toThrow("taking failed (EIO)");
		expect(describeOthers(sim.nodes)).toBe(describeOthers(nodes));
		const isOwned = sim.find(path.join(ROOT, "owner.json")) !== null;
		expect(isOwned).toBe(isStuck);
		expect(await goOn(sim.nodes)).toBe(outputBytes(merge.plan));
	}
});

test("a folder that was moved away and cannot be put back stays where it is", async () => {
	let isMoved = false;
	const nodes = await leave(({ what, file }) => {
		isMoved ||= what === "rename" && file === OUT;
		return isMoved && file !== OUT;
	}, true);
	expect(describeDisk(nodes)).toMatch(/^out\.old-\w+\/file 8/m);
	const sim = new SimFs(nodes, {
		fail: ({ what, to }) => (what === "rename" && to === OUT ? "EIO" : null),
	});
	await expect(merge.run(sim, 2, { overwrite: true })).rejects.toThrow(
		/out\.old-\w+: putting back failed \(EIO\)/,
	);
	expect(describeOthers(sim.nodes)).toBe(describeOthers(nodes));
});
