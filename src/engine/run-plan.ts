import {
	INPUT,
	type MergePlan,
	type OutputShard,
	spansOf,
} from "../delta/plan.ts";
import { addSums } from "../delta/published-sum.ts";
import type { ByteSource } from "../io/byte-source.ts";
import { DIRECT_ALIGNMENT } from "../io/direct-io.ts";
import type { WrittenFile } from "../io/output-file.ts";
import type { Staging } from "../io/staging.ts";
import type { AddCounts } from "../kernel/kernel.ts";
import type { Unrestored } from "../kernel/restoration.ts";
import type { Engine } from "./engine.ts";
import { openFill } from "./fill-source.ts";
import { InputDigests } from "./input-digests.ts";
import type { JournalFile } from "./journal-file.ts";
import { Lane } from "./lane.ts";
import { Pace } from "./pace.ts";
import type { Reused } from "./resume.ts";
import type { Slice } from "./slice.ts";
import { type Issued, SliceRunner } from "./slice-runner.ts";
import { Tally } from "./tally.ts";

/** Where a run stands, after each slice, and whenever more of it is safe. */
export interface Progress {
	/** of the shard that was just written to, from 0 */
	shardIndex: number;
	shardCount: number;
	shardFileName: string;
	shardWrittenBytes: number;
	shardBytes: number;
	/** of all shards, those of an earlier run too */
	writtenBytes: number;
	totalBytes: number;
	/** durable, and known to be: what another run would go on from */
	safeBytes: number;
}

export interface RunOptions {
	/** also take the checksums of the inputs; CRCs that the inputs tell are checked in any case */
	inputSums: boolean;
	onProgress?: ((progress: Progress) => void) | undefined;
}

/** What a run stands on: where it writes, where it says what is safe, and what an earlier one has left. */
export interface Ground {
	staging: Staging;
	journal: JournalFile;
	reused: Reused;
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
 * @param sources  one list of open weight files for each of `plan.inputs`
 * @throws {InterruptedError} once the engine's signal is aborted
 */
export async function runPlan(
	plan: MergePlan,
	sources: readonly (readonly ByteSource[])[],
	ground: Ground,
	engine: Engine,
	options: RunOptions,
): Promise<RunResult> {
	const run = new Run(plan, sources, ground, engine, options);
	try {
		const fills: ByteSource[] = [];
		for (const fill of plan.fills)
			fills.push(await openFill(fill, sources, engine));
		return await run.run(fills);
	} finally {
		await run.close();
	}
}

const FIRST_SLICE_BYTES = 2 ** 22;
/** Below this, handing a slice to other threads costs more than its arithmetic. */
const LEAST_SLICE_BYTES = 2 ** 20;

class Run {
	private readonly plan: MergePlan;
	private readonly sources: readonly (readonly ByteSource[])[];
	private readonly ground: Ground;
	private readonly engine: Engine;
	private readonly options: RunOptions;
	private readonly totalBytes: number;
	private readonly digests: InputDigests | null;
	private readonly pace: Pace;
	/** shards that are being written, each with the input files it reads, as `input:shard` */
	private readonly lanes = new Map<Lane, ReadonlySet<string>>();
	/** of an earlier run, by shard */
	private readonly begun = new Map<number, Lane>();
	private readonly opened = new Set<Lane>();
	private readonly running = new Set<Promise<void>>();
	private readonly waiting: number[];
	private readonly shards: WrittenFile[] = [];
	private readonly tally = new Tally();
	private writtenBytes: number;
	private failed = false;
	private failure: unknown;

	constructor(
		plan: MergePlan,
		sources: readonly (readonly ByteSource[])[],
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
		const { whole, begun, claims, byteLength } = ground.reused;
		this.waiting = [...plan.shards.keys()].filter((i) => !whole.has(i));
		for (const [shardIndex, file] of whole) this.shards[shardIndex] = file;
		for (const opened of begun.values()) {
			const lane = new Lane(opened, engine.options.syncBytes);
			this.begun.set(opened.shardIndex, lane);
			this.opened.add(lane);
		}
		for (const { counts } of claims) this.tally.add(counts);
		this.writtenBytes = byteLength;
		const digests = new InputDigests(
			...([engine, plan, sources, options.inputSums] as const),
		);
		this.digests = digests.isEmpty ? null : digests;
		const { syncBytes } = engine.options;
		const most = Math.min(engine.slots.slotBytes / 3, syncBytes / 2);
		this.pace = new Pace({
			first: FIRST_SLICE_BYTES,
			least: Math.min(LEAST_SLICE_BYTES, alignDown(most)),
			most: alignDown(most),
		});
	}

	async run(fills: readonly ByteSource[]): Promise<RunResult> {
		const { engine, plan } = this;
		const runner = new SliceRunner(plan, [...this.sources, fills], engine);
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
		while (this.running.size > 0) await Promise.all(this.running);
		if (this.failed) throw this.failure;
		const { nonFinite, unrestored, sums } = this.tally;
		return {
			shards: this.shards,
			inputSums: (await this.digests?.finish()) ?? null,
			nonFinite,
			unrestored,
			sum: plan.sum && addSums(plan.sum, sums),
			seconds: runner.seconds,
		};
	}

	/** Close all files, whether whole or not. */
	async close(): Promise<void> {
		for (const lane of this.opened) await lane.abandon(this.ground);
	}

	/** Remember work that goes on meanwhile; the first failure is the run's. */
	private follow(work: Promise<void>): void {
		const settled = work
			.catch((error) => this.fail(error))
			.finally(() => this.running.delete(settled));
		this.running.add(settled);
	}

	private fail(error: unknown): void {
		if (!this.failed) this.failure = error;
		this.failed = true;
	}

	/** All slices of all shards, a few shards in turn, and then what the checksums still want. */
	private async *issue(): AsyncGenerator<Issued> {
		const { pace, digests, lanes } = this;
		while (lanes.size > 0 || this.waiting.length > 0) {
			await this.openLanes();
			for (const lane of lanes.keys()) {
				const { sliceBytes } = pace;
				const slice = lane.next(sliceBytes, this.engine.slots.slotBytes);
				if (digests)
					for (const early of digests.catchUp(slice, sliceBytes))
						yield this.place(early, null);
				if (lane.isIssued) lanes.delete(lane);
				yield this.place(slice, { lane, issued: lane.issue(slice) });
			}
		}
		if (digests)
			for (const slice of digests.remainder(pace.sliceBytes))
				yield this.place(slice, null);
	}

	/** As many shards at once as there are threads, of those that share no input file if that is hashed. */
	private async openLanes(): Promise<void> {
		const most = Math.max(this.engine.crew.threads, 1);
		for (const shardIndex of [...this.waiting]) {
			if (this.lanes.size >= most) return;
			const shard = this.plan.shards[shardIndex] as OutputShard;
			const inputs = inputsOf(shard);
			const open = [...this.lanes.values()].flatMap((names) => [...names]);
			if (this.digests && open.some((name) => inputs.has(name))) continue;
			this.waiting.splice(this.waiting.indexOf(shardIndex), 1);
			const lane =
				this.begun.get(shardIndex) ?? (await this.begin(shardIndex, shard));
			this.lanes.set(lane, inputs);
		}
	}

	private async begin(shardIndex: number, shard: OutputShard): Promise<Lane> {
		const { directIo, syncBytes } = this.engine.options;
		const file = await this.ground.staging.create(shard.fileName, directIo);
		const digest = this.engine.openDigest();
		const opened = { shardIndex, shard, file, digest, fileOffset: 0 };
		const lane = new Lane(opened, syncBytes);
		this.opened.add(lane);
		return lane;
	}

	/** Take the slice's places in the inputs' checksums, in the order of issue. */
	private place(slice: Slice, output: Issued["output"]): Issued {
		const hashedReads = slice.reads.map(
			(read) => this.digests?.takePlaces(read) ?? [],
		);
		return { slice, output, hashedReads };
	}

	private ran({ output }: Issued, runner: SliceRunner): void {
		if (output === null) return;
		const { lane, issued } = output;
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

	private tell({ shardIndex, shard, writtenBytes }: Lane): void {
		this.options.onProgress?.({
			...{ shardIndex, shardCount: this.plan.shards.length },
			shardFileName: shard.fileName,
			shardWrittenBytes: writtenBytes,
			shardBytes: shard.byteLength,
			writtenBytes: this.writtenBytes,
			totalBytes: this.totalBytes,
			safeBytes: this.ground.journal.safeBytes,
		});
	}
}

/** The input files a shard reads, as `input:shard`. */
function inputsOf(shard: OutputShard): Set<string> {
	const spans = shard.segments.flatMap(spansOf);
	return new Set(
		spans
			.filter(({ input }) => input !== INPUT.fill)
			.map(({ input, shard }) => `${input}:${shard}`),
	);
}

function alignDown(byteLength: number): number {
	return byteLength - (byteLength % DIRECT_ALIGNMENT);
}
