import { execFile } from "node:child_process";
import { createReadStream } from "node:fs";
import { readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { finished } from "node:stream/promises";
import { promisify } from "node:util";
import type { Usage } from "./usage.mjs";

const DROP_CACHES = "/proc/sys/vm/drop_caches";

/** Empty the page cache. @returns whether this process may, which takes root, on Linux */
export async function dropCaches(): Promise<boolean> {
	await run("sync", []).catch(() => {});
	return writeFile(DROP_CACHES, "3").then(
		() => true,
		() => false,
	);
}

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
	beside: Comparison | null;
}

/** Of two rows, by what each took in the same round: what slows a shared machine then slows both. */
export interface Comparison {
	/** the other row */
	what: string;
	/** geometric mean of this row's seconds to the other's */
	ratio: number;
	/** two standard errors of it lie between `ratio / spread` and `ratio * spread`; null after one round */
	spread: number | null;
}

/** What a row measures. */
export interface Contender {
	run: Runner;
	/** what it reads, to be in the page cache or out of it */
	models: readonly Models[];
	/** the row before it that it is compared with, round by round */
	beside?: string;
}

export interface Models {
	base: string;
	delta: string;
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
		contenders: ReadonlyMap<string, Contender>,
		count: number,
	): Promise<Map<string, Contender>> {
		const tried = [];
		for (const [what, contender] of contenders) {
			const { seconds } = await this.once(what, contender);
			tried.push({ what, contender, seconds });
		}
		tried.sort((a, b) => a.seconds - b.seconds);
		return new Map(
			tried.slice(0, count).map(({ what, contender }) => [what, contender]),
		);
	}

	/**
	 * @param floors   of these the best counts, and is what all are compared with
	 * @returns the floor, then the others in their order
	 */
	async run(
		floors: ReadonlyMap<string, Contender>,
		others: ReadonlyMap<string, Contender>,
	): Promise<Result[]> {
		const contenders = new Map([...floors, ...others]);
		const usages = new Map<string, Usage[]>();
		for (let i = 0; i < this.options.runs; i++)
			for (const [what, contender] of contenders) {
				const usage = await this.once(what, contender);
				usages.set(what, [...(usages.get(what) ?? []), usage]);
			}
		const results = Array.from(usages, ([what, list]) => {
			const { beside = "" } = contenders.get(what) ?? {};
			const twin = usages.get(beside);
			return {
				...summarise(what, list),
				beside: twin ? compare(list, beside, twin) : null,
			};
		});
		const isFloor = ({ what }: Result) => floors.has(what);
		const floor = results
			.filter(isFloor)
			.sort((a, b) => a.best - b.best)
			.slice(0, 1);
		const kept = [...floor, ...results.filter((each) => !isFloor(each))];
		const first = kept[0]?.best ?? Number.NaN;
		return kept.map((each) => ({ ...each, ratio: each.best / first }));
	}

	private async once(what: string, contender: Contender): Promise<Usage> {
		const { state, out, say } = this.options;
		if (out) await rm(out, { recursive: true, force: true });
		if (state === "cold") await dropCaches();
		else {
			await run("sync", []).catch(() => {});
			await warmUp(contender.models);
		}
		const usage = await contender.run();
		say(`${state}  ${what.trim()}: ${usage.seconds.toFixed(2)} s`);
		return usage;
	}
}

async function warmUp(models: readonly Models[]): Promise<void> {
	for (const folder of models.flatMap(({ base, delta }) => [base, delta]))
		for (const name of await readdir(folder))
			if (/\.(safetensors|bin)$/.test(name))
				await finished(
					createReadStream(path.join(folder, name), READ_OPTIONS).resume(),
				);
}

function compare(
	usages: readonly Usage[],
	what: string,
	others: readonly Usage[],
): Comparison {
	const logs = usages.map(({ seconds }, round) =>
		Math.log(seconds / (others[round] as Usage).seconds),
	);
	const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length;
	const squares = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0);
	const error = Math.sqrt(squares / (logs.length - 1) / logs.length);
	const spread = logs.length > 1 ? Math.exp(2 * error) : null;
	return { what, ratio: Math.exp(mean), spread };
}

function summarise(
	what: string,
	usages: readonly Usage[],
): Omit<Result, "beside"> {
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
