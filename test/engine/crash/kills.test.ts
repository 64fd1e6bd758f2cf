import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { makeOldOutput, RealMerge } from "./real-command.ts";
import { traceMerge, WRITING_CALLS, whyNoStrace } from "./strace.ts";
import { Trials } from "./trials.ts";

const whyNot = whyNoStrace();
if (whyNot !== null) console.warn(`no process is killed here: ${whyNot}`);

let merge: RealMerge;
/** a folder with what a killed merge has left, half done */
let halfDone = "";

beforeAll(async () => {
	if (whyNot !== null) return;
	const folder = await mkdtemp(path.join(tmpdir(), "merge-delta-"));
	merge = await RealMerge.open(folder);
	const out = await merge.newOutput();
	halfDone = path.dirname(out);
	// The first shard whole, the second begun.
	await kill(out, { call: "pwrite64", k: 10 });
	return () => rm(folder, { recursive: true });
}, 60_000);

interface Point {
	call: string;
	/** the process ends instead of its k-th */
	k: number;
}

/** How a merge that is killed begins, and with which arguments. */
interface Scene {
	name: string;
	begin(out: string): Promise<void>;
	args: string[];
}

const SCENES: readonly Scene[] = [
	{ name: "a merge", begin: async () => {}, args: [] },
	{ name: "with a thread", begin: async () => {}, args: ["--threads", "1"] },
	{
		name: "a merge that goes on",
		begin: (out) => cp(halfDone, path.dirname(out), { recursive: true }),
		args: [],
	},
	{ name: "replacing", begin: makeOldOutput, args: ["--overwrite"] },
];

async function kill(out: string, { call, k }: Point, args: string[] = []) {
	const inject = `${call}:signal=SIGKILL:when=${k}`;
	const tracing = { calls: WRITING_CALLS, inject };
	return traceMerge(merge, out, tracing, merge.args(out, ...args));
}

async function listPoints(scene: Scene): Promise<(Point & { scene: Scene })[]> {
	const out = await merge.newOutput();
	await scene.begin(out);
	const tracing = { calls: WRITING_CALLS };
	const args = merge.args(out, ...scene.args);
	const { code, stderr, counts } = await traceMerge(merge, out, tracing, args);
	expect(code, stderr).toBe(0);
	return [...counts].flatMap(([call, count]) =>
		Array.from({ length: count }, (_, i) => ({ scene, call, k: i + 1 })),
	);
}

describe.skipIf(whyNot !== null)("the command, killed", () => {
	test("cases 155, 156: at any system call, and run again, gives the same bytes", async () => {
		const points = [];
		for (const scene of SCENES) points.push(...(await listPoints(scene)));
		let [killed, wentOn] = [0, 0];
		const trials = new Trials(points);
		await trials.run(30, async ({ scene, ...point }) => {
			const { name, begin, args } = scene;
			const out = await merge.newOutput();
			await begin(out);
			const { code } = await kill(out, point, args);
			if (code === null) killed++;
			const about = `${name}, ${point.call} ${point.k}:`;
			const { resumedBytes } = await merge.goOn(out, about, ...args);
			if (resumedBytes > 0) wentOn++;
			await rm(path.dirname(out), { recursive: true });
		});
		console.log(
			`kill points tried: ${trials}; ${killed} were killed, ${wentOn} runs went on from there`,
		);
		expect(trials.wrong).toEqual([]);
		expect(killed).toBeGreaterThan(trials.tried * 0.9);
		expect(wentOn).toBeGreaterThan(0);
	}, 1_800_000);
});
