import { expect, test } from "vitest";
import { judgeKnownFiles, judgeOrigin } from "../../src/delta/judge-known.ts";
import { KNOWN_FILES, recogniseFile } from "../../src/delta/known-files.ts";
import type { KnownFile } from "../../src/delta/known-release.ts";

const TABLE = KNOWN_FILES.map((row) => [row.name, row] as const);

test.each(TABLE)("%s: sums are hex, and it is found by each", (_, row) => {
	if (row.sha256 !== undefined) expect(row.sha256).toMatch(/^[0-9a-f]{64}$/);
	if (row.md5 !== undefined) expect(row.md5).toMatch(/^[0-9a-f]{32}$/);
	const { sha256, md5 } = row;
	const sums = [sha256 && { sha256 }, md5 && { md5 }].filter((s) => !!s);
	expect(sums.length).toBeGreaterThan(0);
	for (const sum of sums) expect(recogniseFile(sum)).toBe(row);
	expect(row.source).not.toBe("");
});

test("no sum stands for two things, and no name for two files", () => {
	const sums = KNOWN_FILES.flatMap(({ sha256, md5 }) => [sha256, md5]).filter(
		(sum) => sum !== undefined,
	);
	expect(sums.length).toBeGreaterThan(100);
	expect(new Set(sums).size).toBe(sums.length);
	const names = KNOWN_FILES.map(({ name, role }) => `${role} ${name}`);
	expect(new Set(names).size).toBe(names.length);
});

test("a sum is found in any case, and beside a length only if that is the file's", () => {
	const sha256 =
		"5561e8d209e5e5e1ca297f540e2d946ce333b7f6dbc53459d6648c2374ede3ae";
	const name = "WizardLM-13B-V1.0 (revision 7445caf), shard 1 of 6";
	const byteLength = 9_956_562_469;
	expect(recogniseFile({ sha256: sha256.toUpperCase() })?.name).toBe(name);
	expect(recogniseFile({ sha256, byteLength })?.name).toBe(name);
	expect(recogniseFile({ sha256, byteLength: 1 })).toBeNull();
	expect(recogniseFile({ byteLength })).toBeNull();
	expect(recogniseFile({ sha256: "0".repeat(64) })).toBeNull();
});

test("sums of two different files recognise neither", () => {
	const sha256 =
		"61bcb043c3c4dc4d567ffea91b3074c70d54089eb3f1872b945d7a4e32677edf";
	const [own, other] = [
		"98764eb949eea16f8e2e1c2d3dea0066",
		"be9ba2f37228a0a9ea0eaf6530aba4de",
	];
	expect(recogniseFile({ sha256, md5: own })?.name).toMatch(/Pygmalion-7B/);
	expect(recogniseFile({ sha256, md5: other })).toBeNull();
});

function filesOf(release: string, role?: KnownFile["role"]) {
	const files = KNOWN_FILES.filter(
		(row) =>
			row.release === release && (role === undefined || row.role === role),
	).map((file, i) => ({ where: `/models/${i}`, file }));
	expect(files.length).toBeGreaterThan(0);
	return files;
}
const BASE = filesOf("LLaMA-7B (Hugging Face)", "base");
const KEY = filesOf("LLaMA-7B (Meta)", "key");
const DELTA = filesOf("lmsys/vicuna-13b-delta-v1.1");
const MERGED = filesOf("lmsys/vicuna-7b-v1.1");
const WIZARD = filesOf("TheBloke/wizard-vicuna-13B-HF");

test("known files in their places raise no doubt", () => {
	expect(judgeKnownFiles(BASE, DELTA)).toEqual([]);
	expect(judgeKnownFiles([], [])).toEqual([]);
});

test.each([
	["a delta as base", DELTA, [], true, /delta, not a base/, /as --base/],
	["both swapped", DELTA, BASE, true, /delta, not a base/, /^Swap/],
	["swapped, merged", DELTA, MERGED, true, /delta, not a base/, /^Swap/],
	["a base as delta", BASE, BASE, true, /of a base, not a delta/, /as --delta/],
	["a key as delta", BASE, KEY, true, /of a base, not a delta/, /as --delta/],
	["full weights as delta", BASE, MERGED, true, /full weights/, /no merge/],
	["TheBloke as delta", BASE, WIZARD, true, /full weights/, /no merge/],
	["a merged base", MERGED, DELTA, false, /already merged/, /original/],
])("%s", (_, base, delta, refuses, what, remedy) => {
	const [doubt] = judgeKnownFiles(base, delta);
	expect(doubt).toMatchObject({
		refuses,
		what: expect.stringMatching(what),
		remedy: expect.stringMatching(remedy),
	});
});

test("a release is spoken of once, with all of its files", () => {
	const doubts = judgeKnownFiles(BASE, WIZARD);
	expect(doubts).toHaveLength(1);
	expect(doubts[0]?.found).toBe("TheBloke/wizard-vicuna-13B-HF, shard 1 of 3");
	expect(doubts[0]?.details).toHaveLength(3);
});

test("an older release and a variant are told with their advice", () => {
	const old = judgeKnownFiles([], filesOf("lmsys/vicuna-13b-delta-v0"));
	expect(old).toHaveLength(1);
	expect(old[0]).toMatchObject({ refuses: false });
	expect(old[0]?.remedy).toMatch(/v1\.1 replaces it/);
	const [variant] = judgeKnownFiles(filesOf("LLaMA-13B (Hugging Face)"), []);
	expect(variant?.remedy).toMatch(/6\.51 GB and of 6\.18 GB/);
	expect(variant?.details).toHaveLength(2);
});

const CACHED = "/c/models--junelee--wizard-vicuna-13b/snapshots/0123";
const SAVED = { _name_or_path: "out/wizard_vicuna_13b_600_step" };

test.each([
	["junelee/wizard-vicuna-13b", null, /junelee/],
	["junelee/wizard-vicuna-13b@main", null, /junelee/],
	["/data/TheBloke/wizard-vicuna-13B-HF/", null, /TheBloke/],
	[CACHED, null, /junelee/],
	["/data/mine", SAVED, /600_step" in config\.json, which is junelee/],
])("%s is known to be full weights", (location, config, found) => {
	const [doubt] = judgeOrigin(location, config);
	expect(doubt?.refuses).toBe(true);
	expect(doubt?.found).toMatch(found);
	expect(doubt?.remedy).toMatch(/needs no merge/);
});

test.each([
	["lmsys/vicuna-13b-delta-v1.1", null],
	["/data/junelee/wizard-vicuna-13b-delta", {}],
	["/data/mine", { _name_or_path: 7 }],
	["/data/mine", "no object"],
])("%s with config %j is not", (location, config) => {
	expect(judgeOrigin(location, config)).toEqual([]);
});
