import type { PublishOptions } from "../../../src/engine/publish.ts";
import { OutputConflictError } from "../../../src/errors.ts";
import { Content, describeDisk, type Folder, type Nodes } from "./disk.ts";
import {
	type Choice,
	type Crash,
	crashesOf,
	random,
	type SafeMarks,
} from "./explore.ts";
import { watchOrder } from "./order.ts";
import { SimFs, type SimOptions } from "./sim-fs.ts";
import type { TinyMerge } from "./tiny-merge.ts";

/** A run on a disk, and what became of it. */
export interface Ran {
	sim: SimFs;
	marks: SafeMarks;
	error: unknown;
	/** bytes of an earlier run that were not made again */
	reusedBytes: number;
}

export interface Figures {
	/** states that crashes left */
	states: number;
	/** those unlike all others, from each of which a run has recovered */
	distinct: number;
	/** of those, left by crashes of a recovery */
	twice: number;
}

/** Crashes a merge, lets the same command recover, and compares what it ends with. */
export class CrashTest {
	readonly figures: Figures = { states: 0, distinct: 0, twice: 0 };
	/** what was not as it should be, at most a few of it */
	readonly wrong: string[] = [];
	private readonly merge: TinyMerge;
	private readonly overwrite: boolean;
	private readonly before: Nodes;
	private readonly expected: string;
	private readonly simOptions: SimOptions;
	private readonly seen = new Set<string>();
	private readonly most: number;
	private boots = 0;
	private foundMost = false;

	private constructor(
		merge: TinyMerge,
		overwrite: boolean,
		expected: string,
		simOptions: SimOptions,
		most: number,
	) {
		this.most = most;
		this.merge = merge;
		this.overwrite = overwrite;
		this.before = diskBefore(overwrite);
		this.expected = expected;
		this.simOptions = simOptions;
	}

	/**
	 * @param overwrite  whether a folder stands at the output, which is to be replaced
	 * @param most       so much that is wrong is enough to stop
	 */
	static async open(
		merge: TinyMerge,
		overwrite: boolean,
		simOptions: SimOptions = {},
		most = 5,
	): Promise<CrashTest> {
		const sim = new SimFs(diskBefore(false));
		await merge.run(sim, 0);
		const expected = describeDisk(sim.nodes);
		return new CrashTest(merge, overwrite, expected, simOptions, most);
	}

	/**
	 * Merge, with everything under way at once done in an order that `seed` makes, and recover from its crashes.
	 *
	 * @param draws  how many random crashes at each event, beside those that are always tried
	 * @param again  of each of so many recoveries, one is crashed too
	 */
	async run({
		draws,
		seed,
		again,
	}: {
		draws: number;
		seed: number;
		again: number;
	}): Promise<void> {
		const first = await this.command(this.before, seed);
		this.judge(first, { nodes: this.before, isBare: true, safeBytes: 0 });
		const { events } = first.sim;
		const most = first.marks.at(-1)?.safeBytes;
		const crashes = crashesOf(this.before, events, first.marks, {
			draws,
			seed,
		});
		for (const crash of crashes) {
			if (this.wrong.length >= this.most) return;
			const ran = await this.recover(crash, false);
			const findsMost = crash.safeBytes === most;
			const choice = ran && this.chooseAgain(ran, findsMost, again);
			if (!choice) continue;
			for (const second of crashesOf(
				...([crash.nodes, ran.sim.events, ran.marks, choice] as const),
			)) {
				if (this.wrong.length >= this.most) return;
				await this.recover(second, true);
			}
		}
	}

	/**
	 * Which crashes of a recovery are looked at: all where it is the first that finds as much as can be safe, because
	 * fewest syncs come between its renames; otherwise one.
	 */
	private chooseAgain(
		{ sim }: Ran,
		findsMost: boolean,
		again: number,
	): Choice | null {
		if (findsMost && !this.foundMost) {
			this.foundMost = true;
			return {};
		}
		const { distinct } = this.figures;
		if (distinct % again !== 0) return null;
		const pick = random(distinct);
		const at = pick(sim.events.length + 1);
		const fate = pick(7);
		return {
			...{ draws: 1, seed: pick(2 ** 30) },
			at: (event) => event === at,
			fate: (index) => index === fate,
		};
	}

	/** Run the command once on a disk. */
	async command(
		nodes: Nodes,
		seed: number,
		options: SimOptions = {},
	): Promise<Ran> {
		const sim = new SimFs(nodes, {
			watch: watchOrder(this.merge.plan, this.wrong),
			...{ ...this.simOptions, ...options, seed },
		});
		const marks: SafeMarks = [];
		const given: Partial<PublishOptions> = {
			overwrite: this.overwrite,
			onProgress: ({ safeBytes }) => {
				if (safeBytes > (marks.at(-1)?.safeBytes ?? 0))
					marks.push({ event: sim.events.length, safeBytes });
			},
		};
		this.boots++;
		const result = await this.merge.run(sim, this.boots, given).then(
			({ resumed }) => ({ error: null, reusedBytes: resumed?.byteLength ?? 0 }),
			(error) => ({ error, reusedBytes: 0 }),
		);
		return { sim, marks, ...result };
	}

	/** @returns null where such a disk was recovered from before */
	private async recover(crash: Crash, isTwice: boolean): Promise<Ran | null> {
		this.figures.states++;
		const key = describeDisk(crash.nodes);
		if (this.seen.has(key) && !crash.isBare) return null;
		if (!this.seen.has(key)) {
			this.figures.distinct++;
			if (isTwice) this.figures.twice++;
		}
		this.seen.add(key);
		const ran = await this.command(crash.nodes, this.figures.distinct);
		this.judge(ran, crash);
		return ran;
	}

	private judge({ sim, error, reusedBytes }: Ran, crash: Crash): void {
		const before = describeDisk(crash.nodes);
		if (before === this.expected && error instanceof OutputConflictError)
			return;
		if (error !== null) this.complain(`${error} from\n${before}`);
		else if (describeDisk(sim.nodes) !== this.expected)
			this.complain(`other bytes from\n${before}`);
		else if (crash.isBare && reusedBytes < crash.safeBytes)
			this.complain(
				`${reusedBytes} of ${crash.safeBytes} safe bytes were reused from\n${before}`,
			);
		if (this.overwrite && !hasOldOrNew(before, this.expected))
			this.complain(`neither the old output nor the new one is in\n${before}`);
	}

	private complain(what: string): void {
		if (this.wrong.length < this.most) this.wrong.push(what);
	}
}

const OLD = new Content(Buffer.from("precious"));

/** The disk before a merge: nothing, or a folder with something in it where the output is to be. */
export function diskBefore(overwrite: boolean): Nodes {
	const root: [string, number][] = overwrite ? [["out", 1]] : [];
	const nodes: Nodes = new Map<number, Content | Folder>([[0, new Map(root)]]);
	if (!overwrite) return nodes;
	return nodes
		.set(
			1,
			new Map([
				["file", 2],
				["folder", 3],
			]),
		)
		.set(2, OLD)
		.set(3, new Map([["file", 2]]));
}

/** Whether one of the two stands whole at the output, or the old one under the name it is moved to. */
function hasOldOrNew(disk: string, expected: string): boolean {
	const old = describeDisk(diskBefore(true));
	const moved = disk.replace(/^out\.old-[0-9a-f]{16}/gm, "out");
	return [disk, moved].some((each) =>
		[old, expected].some((whole) =>
			whole.split("\n").every((line) => each.split("\n").includes(line)),
		),
	);
}
