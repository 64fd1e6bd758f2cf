import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { CrashTest } from "./crash-test.ts";
import type { Operation, SimOptions } from "./sim-fs.ts";
import { openTinyMerge, type TinyMerge } from "./tiny-merge.ts";

let merge: TinyMerge;

beforeAll(async () => {
	const folder = await mkdtemp(path.join(tmpdir(), "merge-delta-"));
	merge = await openTinyMerge(folder);
	return async () => {
		await merge.close();
		await rm(folder, { recursive: true });
	};
});

const all = { states: 0, distinct: 0, twice: 0 };

test.each([
	["a new folder", false],
	["a folder that is replaced", true],
])(
	"cases 156, 160: whatever a loss of power leaves of %s, the same command ends with the same bytes",
	async (_, overwrite) => {
		const crashes = await CrashTest.open(merge, overwrite);
		await crashes.run({ draws: 750, seed: 1, again: 4 });
		expect(crashes.wrong).toEqual([]);
		const { states, distinct, twice } = crashes.figures;
		all.states += states;
		all.distinct += distinct;
		all.twice += twice;
	},
	300_000,
);

test("a hundred thousand crashes were tried", () => {
	const [states, distinct, twice] = [all.states, all.distinct, all.twice].map(
		(count) => count.toLocaleString("en"),
	);
	console.log(
		`${states} crash states; ${distinct} unlike each other, each recovered from; ${twice} of those after a crash of a recovery`,
	);
	expect(all.states).toBeGreaterThanOrEqual(100_000);
	expect(all.distinct).toBeGreaterThan(5000);
	expect(all.twice).toBeGreaterThan(500);
});

type Is = (operation: Operation) => boolean;

/** Every place where something is made durable. */
const SYNCS: Record<string, Is> = {
	"a shard": ({ what, file }) =>
		what === "sync" && /safetensors\.merge-delta-part$/.test(file),
	"a file beside the shards": ({ what, file }) =>
		what === "sync" && /(json|SUMS)\.merge-delta-part$/.test(file),
	"the journal": ({ what, file }) => what === "sync" && /journal$/.test(file),
	"the journal's beginning": ({ what, file }) =>
		what === "sync" && /journal\.tmp$/.test(file),
	"the plan": ({ what, file }) =>
		what === "sync" && /plan\.json\.tmp$/.test(file),
	"the names of the output's files": ({ what, file }) =>
		what === "syncFolder" && /merged\.[0-9a-f]+$/.test(file),
	"the names in the staging folder": ({ what, file }) =>
		what === "syncFolder" && /out\.merge-delta$/.test(file),
	"the names beside the output": ({ what, file }) =>
		what === "syncFolder" && /sim$/.test(file),
};

/** The functions in which something is made durable: all that ask for a sync. */
const SYNCING = [
	...["StagingNotes.write", "JournalFile.flushWaiting", "Lane.sync"],
	...["Staging.write", "Staging.syncUnsynced", "Staging.publish"],
	...["takeMerged", "StagedRun.finish"],
];

/** Renames that come too late: only after what they must precede. */
const RENAMES: Record<string, [isIt: Is, isLater: Is]> = {
	"names the plan only after something is safe": [
		isRenameTo(/plan\.json$/),
		SYNCS["the journal"] as Is,
	],
	"names the journal only after something is safe": [
		isRenameTo(/journal$/),
		SYNCS["the journal"] as Is,
	],
	"names whole files only after their folder was synced": [
		isRenameTo(/merged\.[0-9a-f]+[\\/].+$/),
		SYNCS["the names of the output's files"] as Is,
	],
	"takes files over only after the folder around them was synced": [
		isRenameTo(/merged\.[0-9a-f]+$/),
		SYNCS["the names in the staging folder"] as Is,
	],
	"takes files over only after the output has appeared": [
		isRenameTo(/merged\.[0-9a-f]+$/),
		isRenameTo(/\bout$/),
	],
	"lets the output appear only after the folder around it was synced": [
		isRenameTo(/\bout$/),
		SYNCS["the names beside the output"] as Is,
	],
	"lets the output appear only after the old one was deleted": [
		isRenameTo(/\bout$/),
		({ what, file }) => what === "removeFolder" && /out\.old-\w+$/.test(file),
	],
	"moves the old output away only after the new one has appeared": [
		isRenameTo(/out\.old-\w+$/),
		isRenameTo(/\bout$/),
	],
};

function isRenameTo(name: RegExp): Is {
	return ({ what, to = "" }) => what === "rename" && name.test(to);
}

/** Whether a run that differs so turns out wrong; the first that is found is enough. */
async function isFound(options: SimOptions): Promise<boolean> {
	for (const overwrite of [false, true]) {
		const crashes = await CrashTest.open(merge, overwrite, options, 1);
		await crashes.run({ draws: 1, seed: 1, again: 2 });
		if (crashes.wrong.length > 0) return true;
	}
	return false;
}

test("every function that syncs is known", async () => {
	const found = new Set<string>();
	const omits = (_: Operation, by: () => string) => {
		found.add(by());
		return false;
	};
	for (const overwrite of [false, true]) {
		const crashes = await CrashTest.open(merge, overwrite, { omits });
		await crashes.run({ draws: 0, seed: 1, again: 8 });
	}
	expect([...found].sort()).toEqual(SYNCING.toSorted());
}, 60_000);

describe("the simulation finds it where a program", () => {
	test.each(SYNCING)(
		"never syncs in %s",
		async (name) => {
			const omits = (_: Operation, by: () => string) => by() === name;
			expect(await isFound({ omits })).toBe(true);
		},
		60_000,
	);

	test.each(Object.entries(SYNCS))(
		"never syncs %s",
		async (_, omits) => {
			expect(await isFound({ omits })).toBe(true);
		},
		60_000,
	);

	test.each([
		...Object.entries(SYNCS).map(
			([name, isIt]) =>
				[
					`syncs ${name} only after what is renamed next`,
					isIt,
					isRenameTo(/./),
				] as const,
		),
		...Object.entries(RENAMES).map(([name, both]) => [name, ...both] as const),
	])(
		"%s",
		async (_, isIt, isLater) => {
			const delays = (operation: Operation) =>
				isIt(operation) ? isLater : null;
			expect(await isFound({ delays })).toBe(true);
		},
		60_000,
	);
});
