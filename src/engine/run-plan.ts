import type { MergePlan } from "../delta/plan.ts";
import { addSums } from "../delta/published-sum.ts";
import { DIRECT_ALIGNMENT } from "../io/direct-io.ts";
import type { FileSource } from "../io/file-source.ts";
import type { WrittenFile } from "../io/output-file.ts";
import type { AddCounts } from "../kernel/kernel.ts";
import type { Unrestored } from "../kernel/restoration.ts";
import type { Engine } from "./engine.ts";
import type { Ground } from "./ground.ts";
import { InputDigests } from "./input-digests.ts";
import type { Lane } from "./lane.ts";
import { Lanes } from "./lanes.ts";
import { Pace } from "./pace.ts";
import { PassingInputs } from "./passing-inputs.ts";
import type { Progress } from "./progress.ts";
import { Schedule, type Scheduled } from "./schedule.ts";
import { type Issued, SliceRunner } from "./slice-runner.ts";
import { Tally } from "./tally.ts";
import { chooseTracks } from "./track.ts";

export interface RunOptions {
	/** also take the checksums of the inputs; CRCs that the inputs tell are checked in any case */
	inputSums: boolean;
	onProgress?: ((progress: Progress) => void) | undefined;
}

export interface RunResult {
	shards: WrittenFile[];
	/** SHA-256 in hex of each file of each input, or null */
	inputSums: string[][] | null;
	/** tensors with results that are not finite, by name */
	nonFinite: Map<string, AddCounts>;
	/** tensors with elements that the merge would not give back, by name */
	unrestored: Map<string, Unrestored>;
	/** of all elements, where the plan says what it must be */
	sum: number | null;
	/** added up over all reads and writes, many of which are under way at once */
	seconds: { read: number; write: number };
}

/**
 * Write every output shard of a plan into the staging folder, several slices at once.
 *
 * @param sources  one list of open weight files for each of `plan.inputs`; what is made of one is begun once it is here
 * @throws {InterruptedError} once the engine's signal is aborted
 */
export async function runPlan(
	plan: MergePlan,
	sources: readonly (readonly FileSource[])[],
	ground: Ground,
	engine: Engine,
	options: RunOptions,
): Promise<RunResult> {
	const run = new Run(plan, sources, ground, engine, options);
	try {
		return await run.run();
	} finally {
		await run.close();
	}
}

const FIRST_SLICE_BYTES = 2 ** 22;
/** Below this, handing a slice to other threads costs more than its arithmetic. */
const LEAST_SLICE_BYTES = 2 ** 20;
/** What a slot keeps for reads that are widened to whole pages, so that slices are not cut shorter for them. */
const WIDENING_BYTES = 2 ** 16;

class Run {
	private readonly plan: MergePlan;
	private readonly sources: readonly (readonly FileSource[])[];
	private readonly ground: Ground;
	private readonly engine: Engine;
	private readonly options: RunOptions;
	private readonly totalBytes: number;
	private readonly schedule: Schedule;
	private readonly passing: PassingInputs;
	private readonly digests: InputDigests;
	private readonly pace: Pace;
	private readonly lanes: Lanes;
	private running = 0;
	private idle = () => {};
	private readonly shards: WrittenFile[] = [];
	private readonly tally = new Tally();
	private writtenBytes: number;
	private failed = false;
	private failure: unknown;

	constructor(
		plan: MergePlan,
		sources: readonly (readonly FileSource[])[],
		ground: Ground,
		engine: Engine,
		options: RunOptions,
	) {
		this.plan = plan;
		this.sources = sources;
		this.ground = ground;
		this.engine = engine;
		this.options = options;
		this.totalBytes = plan.shards.reduce((sum, s) => sum + s.byteLength, 0);
		const { whole, claims, byteLength } = ground.reused;
		for (const [shardIndex, file] of whole) this.shards[shardIndex] = file;
		for (const { counts } of claims) this.tally.add(counts);
		this.writtenBytes = byteLength;
		const passes = sources.flat().some(({ passing }) => passing);
		const tracks = chooseTracks(plan, ground.reused, sources);
		const { inputSums } = options;
		this.digests = new InputDigests(
			...([engine, plan, sources, inputSums, tracks] as const),
		);
		const onFailure = (error: unknown) => this.fail(error);
		this.schedule = new Schedule(
			...([plan, tracks, sources, engine] as const),
			{ digests: this.digests, sharesFiles: passes || !inputSums, onFailure },
		);
		this.passing = new PassingInputs(
			sources.flat(),
			tracks.map(({ segments }) => this.schedule.filesOf(segments)),
			this.schedule.filesOf(plan.shards.flatMap(({ segments }) => segments)),
			onFailure,
		);
		const { schedule, passing } = this;
		this.lanes = new Lanes(
			...([plan, { tracks, schedule, passing }, ground, engine] as const),
		);
		const { syncBytes } = engine.options;
		const room = engine.slots.slotBytes - WIDENING_BYTES;
		const most = Math.min(room / 3, syncBytes / 2);
		this.pace = new Pace({
			first: FIRST_SLICE_BYTES,
			least: Math.min(LEAST_SLICE_BYTES, alignDown(most)),
			most: alignDown(most),
		});
	}

	async run(): Promise<RunResult> {
		const { engine, plan, schedule } = this;
		const runner = new SliceRunner(plan, schedule.sources, engine);
		try {
			for await (const issued of this.issue()) {
				const slot = await engine.slots.take();
				const run = this.failed
					? Promise.resolve()
					: runner.run(issued, slot).then(() => this.ran(issued, runner));
				this.follow(run.finally(() => engine.slots.give(slot)));
				if (this.failed) break;
			}
		} catch (error) {
			this.fail(error);
		}
		while (this.running > 0)
			await new Promise<void>((resolve) => {
				this.idle = resolve;
			});
		if (this.failed) throw this.failure;
		const { nonFinite, unrestored, sums } = this.tally;
		return {
			shards: this.shards,
			inputSums: await this.inputSums(),
			nonFinite,
			unrestored,
			sum: plan.sum && addSums(plan.sum, sums),
			seconds: runner.seconds,
		};
	}

	/** Close all files, whether whole or not. */
	async close(): Promise<void> {
		await this.lanes.abandon();
	}

	/** Remember work that goes on meanwhile; the first failure is the run's. */
	private follow(work: Promise<void>): void {
		this.running++;
		work
			.catch((error) => this.fail(error))
			.finally(() => {
				if (--this.running === 0) this.idle();
			});
	}

	private fail(error: unknown): void {
		if (!this.failed) this.failure = error;
		this.failed = true;
		this.schedule.arrivals.fail(error);
		this.passing.fail(error);
	}

	/** Give each slice its places in the checksums, in the order of issue. */
	private async *issue(): AsyncGenerator<Issued> {
		for await (const next of this.schedule.slices(this.pace)) {
			const { slice, from } = next;
			const hashedReads = this.digests.takePlaces(slice);
			const output = await this.outputOf(next);
			yield { slice, from, output, hashedReads };
		}
	}

	private async outputOf(next: Scheduled): Promise<Issued["output"]> {
		if (!("shardIndex" in next)) return null;
		const lane = await this.lanes.of(next.shardIndex);
		return { lane, issued: lane.issue(next.slice) };
	}

	private ran(run: Issued, runner: SliceRunner): void {
		this.passing.leave(this.schedule.made(run));
		if (run.output === null) return;
		const { lane, issued } = run.output;
		const { byteLength } = issued.slice.write;
		this.pace.done(byteLength);
		this.writtenBytes += byteLength;
		const mayClaim = lane.written(issued);
		this.tell(lane);
		if (mayClaim) this.follow(runner.timed("write", () => this.claim(lane)));
	}

	private async claim(lane: Lane): Promise<void> {
		const whole = await lane.claim(this.ground, (counts) => {
			this.tally.add(counts);
			this.tell(lane);
		});
		if (whole !== null) this.shards[lane.shardIndex] = whole;
	}

	/** Of all files of all inputs, once those that pass are known to be right. */
	private async inputSums(): Promise<string[][] | null> {
		const passed = await this.passing.all();
		const sums = await this.digests.finish();
		if (!sums) return null;
		return this.sources.map((shards, input) =>
			shards.map(
				(source, shard) =>
					sums[input]?.[shard] ?? (passed.get(source) as string),
			),
		);
	}

	private tell({ shardIndex, shard, writtenBytes }: Lane): void {
		this.options.onProgress?.({
			shardIndex,
			shardCount: this.plan.shards.length,
			shardFileName: shard.fileName,
			shardWrittenBytes: writtenBytes,
			shardBytes: shard.byteLength,
			writtenBytes: this.writtenBytes,
			totalBytes: this.totalBytes,
			safeBytes: this.ground.journal.safeBytes,
		});
	}
}

function alignDown(byteLength: number): number {
	return byteLength - (byteLength % DIRECT_ALIGNMENT);
}
