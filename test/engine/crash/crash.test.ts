import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { CrashTest } from "./crash-test.ts";
import type { Operation } from "./sim-fs.ts";
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

/** Every place where something is made durable. */
const SYNCS: Record<string, (operation: Operation) => boolean> = {
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

describe("the simulation finds it where a program", () => {
	const omissions = Object.entries(SYNCS).flatMap(([name, isIt]) =>
		(["never", "late"] as const).map((how) => [how, name, isIt] as const),
	);
	test.each(omissions)(
		"%s syncs %s",
		async (how, _, isIt) => {
			const omits = (operation: Operation) => (isIt(operation) ? how : null);
			let wrong = 0;
			for (const overwrite of [false, true]) {
				if (wrong > 0) break;
				const crashes = await CrashTest.open(merge, overwrite, { omits }, 1);
				await crashes.run({ draws: 10, seed: 1, again: 1 });
				wrong += crashes.wrong.length;
			}
			expect(wrong).toBeGreaterThan(0);
		},
		60_000,
	);
});
