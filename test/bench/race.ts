import { execFile } from "node:child_process";
import { createReadStream } from "node:fs";
import { readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { finished } from "node:stream/promises";
import { promisify } from "node:util";
import type { Usage } from "./usage.mjs";

export const DROP_CACHES = "/proc/sys/vm/drop_caches";

/** Of a file that is only to be in the page cache. */
const READ_OPTIONS = { highWaterMark: 2 ** 22 };

export type Runner = () => Promise<Usage>;

export interface Result {
	what: string;
	/** seconds */
	best: number;
	median: number;
	/** of the best run */
	cpuSeconds: number | null;
	peakMiB: number | null;
	/** of the best to the best of the first */
	ratio: number;
}

const run = promisify(execFile);

/** Run a command; what it took is what it says on its last line, or else its time from start to end. */
export async function runCommand(
	command: string,
	args: string[],
	environment: Record<string, string> = {},
): Promise<Usage> {
	const started = performance.now();
	const { stdout } = await run(command, args, {
		env: { ...process.env, ...environment },
	});
	const seconds = (performance.now() - started) / 1000;
	const last = stdout.trim().split("\n").at(-1) ?? "";
	if (last.startsWith("{")) return JSON.parse(last);
	return { seconds, cpuSeconds: null, peakMiB: null };
}

interface RaceOptions {
	state: "cold" | "warm";
	/** what is read, to be in the page cache or out of it */
	models: readonly { base: string; delta: string }[];
	/** what is made, deleted before each run */
	out: string | null;
	runs: number;
	say(line: string): void;
}

/** Runs what is compared in turn, because the machine may be shared and its speed may change. */
export class Race {
	private readonly options: RaceOptions;

	constructor(options: RaceOptions) {
		this.options = options;
	}

	/** The `count` best of many, each tried once. */
	async best(
		runners: readonly [string, Runner][],
		count: number,
	): Promise<Map<string, Runner>> {
		const tried = [];
		for (const [what, runner] of runners) {
			const { seconds } = await this.once(what, runner);
			tried.push({ what, runner, seconds });
		}
		tried.sort((a, b) => a.seconds - b.seconds);
		return new Map(
			tried.slice(0, count).map(({ what, runner }) => [what, runner]),
		);
	}

	/**
	 * @param floors   of these the best counts, and is what all are compared with
	 * @returns the floor, then the others in their order
	 */
	async run(
		floors: ReadonlyMap<string, Runner>,
		others: ReadonlyMap<string, Runner>,
	): Promise<Result[]> {
		const usages = new Map<string, Usage[]>();
		for (let i = 0; i < this.options.runs; i++)
			for (const [what, runner] of [...floors, ...others]) {
				const usage = await this.once(what, runner);
				usages.set(what, [...(usages.get(what) ?? []), usage]);
			}
		const results = Array.from(usages, ([what, list]) => summarise(what, list));
		const isFloor = ({ what }: Result) => floors.has(what);
		const floor = results
			.filter(isFloor)
			.sort((a, b) => a.best - b.best)
			.slice(0, 1);
		const kept = [...floor, ...results.filter((each) => !isFloor(each))];
		const first = kept[0]?.best ?? Number.NaN;
		return kept.map((each) => ({ ...each, ratio: each.best / first }));
	}

	private async once(what: string, runner: Runner): Promise<Usage> {
		const { state, out, say } = this.options;
		if (out) await rm(out, { recursive: true, force: true });
		await run("sync", []).catch(() => {});
		if (state === "cold") await writeFile(DROP_CACHES, "3");
		else await this.warmUp();
		const usage = await runner();
		say(`${state}  ${what.trim()}: ${usage.seconds.toFixed(2)} s`);
		return usage;
	}

	private async warmUp(): Promise<void> {
		for (const folder of this.options.models.flatMap((m) => [m.base, m.delta]))
			for (const name of await readdir(folder))
				if (/\.(safetensors|bin)$/.test(name))
					await finished(
						createReadStream(path.join(folder, name), READ_OPTIONS).resume(),
					);
	}
}

function summarise(what: string, usages: readonly Usage[]): Result {
	const sorted = [...usages].sort((a, b) => a.seconds - b.seconds);
	const [best, median] = [sorted[0], sorted[Math.floor(sorted.length / 2)]];
	return {
		what,
		best: best?.seconds ?? Number.NaN,
		median: median?.seconds ?? Number.NaN,
		cpuSeconds: best?.cpuSeconds ?? null,
		peakMiB: best?.peakMiB ?? null,
		ratio: 1,
	};
}
