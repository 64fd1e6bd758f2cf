import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import type { Ended } from "./command.ts";
import { makeOldOutput, RealMerge } from "./real-command.ts";
import { traceMerge, WRITING_CALLS, whyNoStrace } from "./strace.ts";
import { Trials } from "./trials.ts";

const whyNot = whyNoStrace();
if (whyNot !== null) console.warn(`no system call fails here: ${whyNot}`);

const WRITE_ERRORS = [
	...["ENOSPC", "EIO", "EDQUOT", "EFBIG", "EMFILE", "EROFS", "EXDEV"],
];
const READ_ERRORS = ["EIO", "EMFILE"];

/** Which calls fail, on which files, and how. */
const SCENES = {
	"its output": {
		calls: [...WRITING_CALLS, "close", "getdents64"],
		...{ errors: WRITE_ERRORS, overwrite: false },
	},
	"a folder that it replaces": {
		calls: [...WRITING_CALLS, "close", "getdents64"],
		...{ errors: WRITE_ERRORS, overwrite: true },
	},
	"its inputs": {
		calls: ["openat", "pread64", "statx", "getdents64", "close"],
		...{ errors: READ_ERRORS, overwrite: false },
	},
};
type Scene = keyof typeof SCENES;

interface Point {
	scene: Scene;
	call: string;
	k: number;
	error: string;
	/** the k-th call fails, or all from then on */
	lasts: boolean;
}

let merge: RealMerge;
const inputs: string[] = [];

beforeAll(async () => {
	if (whyNot !== null) return;
	const folder = await mkdtemp(path.join(tmpdir(), "merge-delta-"));
	merge = await RealMerge.open(folder);
	for (const side of [merge.base, merge.delta]) {
		const names = await readdir(side);
		inputs.push(side, ...names.map((name) => path.join(side, name)));
	}
	return () => rm(folder, { recursive: true });
}, 60_000);

async function trace(out: string, scene: Scene, inject?: string) {
	const { calls, overwrite } = SCENES[scene];
	const paths = scene === "its inputs" ? inputs : undefined;
	const args = merge.args(out, ...(overwrite ? ["--overwrite"] : []));
	if (overwrite) await makeOldOutput(out);
	return traceMerge(merge, out, { calls, paths, inject }, args);
}

async function listPoints(scene: Scene): Promise<Point[]> {
	const { code, stderr, counts } = await trace(await merge.newOutput(), scene);
	expect(code, stderr).toBe(0);
	return [...counts].flatMap(([call, count]) =>
		Array.from({ length: count }, (_, i) =>
			SCENES[scene].errors.flatMap((error) =>
				[false, true].map((lasts) => ({ scene, call, k: i + 1, error, lasts })),
			),
		).flat(),
	);
}

/** A failure is a sentence, and perhaps what is safe; what is only left over is a warning. */
function judgeEnded({ code, stderr }: Ended, isThere: boolean, where: string) {
	expect([0, 6], where).toContain(code);
	if (code === 0) return expect(isThere, where).toBe(true);
	expect(stderr, where).toMatch(
		/^error .+: .+ failed \(E[A-Z]+\)(\. .+)?\n( {2}.+\n)?$/,
	);
	if (isThere) expect(stderr, where).toContain("the output is there");
}

describe.skipIf(whyNot !== null)(
	"the command, with a system call that fails",
	() => {
		test("cases 143–149, 151, 152, 166: is exit code 6 and a sentence, and the same command ends with the same bytes", async () => {
			const points: Point[] = [];
			for (const scene of Object.keys(SCENES) as Scene[])
				points.push(...(await listPoints(scene)));
			let failed = 0;
			const trials = new Trials(points);
			await trials.run(25, async ({ scene, call, k, error, lasts }) => {
				const { overwrite } = SCENES[scene];
				const out = await merge.newOutput();
				const inject = `${call}:error=${error}:when=${k}${lasts ? "+" : ""}`;
				const ended = await trace(out, scene, inject);
				const about = `${scene}, ${inject}: ${ended.code}\n${ended.stderr}`;
				if (ended.code !== 0) failed++;
				const more = overwrite ? ["--overwrite"] : [];
				const { isThere } = await merge.goOn(out, about, ...more);
				judgeEnded(ended, isThere, about);
				await rm(path.dirname(out), { recursive: true });
			});
			console.log(
				`injected errors tried: ${trials}; ${failed} ended the command`,
			);
			expect(trials.wrong).toEqual([]);
			expect(failed).toBeGreaterThan(trials.tried / 2);
		}, 3_600_000);
	},
);
