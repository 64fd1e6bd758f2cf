import {
	type Fill,
	filesOf,
	INPUT,
	type MergePlan,
	type Segment,
	spansOf,
} from "../delta/plan.ts";
import type { ByteSource } from "../io/byte-source.ts";
import type { FileSource } from "../io/file-source.ts";
import { Arrivals } from "./arrivals.ts";
import type { Engine } from "./engine.ts";
import { openFill } from "./fill-source.ts";
import type { Pace } from "./pace.ts";
import type { OutputSlice } from "./slice.ts";
import type { Track } from "./track.ts";

export interface ScheduleOptions {
	/** whether tracks that are under way at once may read the same file */
	sharesFiles: boolean;
	/** called with what keeps a source from coming */
	onFailure(error: unknown): void;
}

/** Decides which slice is issued next: of a few tracks in turn, each begun once the files it reads are here. */
export class Schedule {
	readonly arrivals: Arrivals;
	/** by input and shard, the fills as the last input: each is made once a track wants it */
	readonly sources: readonly (readonly ByteSource[])[];
	private readonly fills: ByteSource[] = [];
	private readonly plan: MergePlan;
	private readonly engine: Engine;
	private readonly sharesFiles: boolean;
	private readonly waiting: Track[];
	/** under way, each with the input files it reads */
	private readonly begun = new Map<Track, ReadonlySet<ByteSource>>();

	constructor(
		plan: MergePlan,
		tracks: readonly Track[],
		sources: readonly (readonly FileSource[])[],
		engine: Engine,
		{ sharesFiles, onFailure }: ScheduleOptions,
	) {
		this.plan = plan;
		this.waiting = [...tracks];
		this.sources = [...sources, this.fills];
		this.engine = engine;
		this.sharesFiles = sharesFiles;
		this.arrivals = new Arrivals(
			sources.flat(),
			(source) => source.chooseReading(engine.options.directIo),
			onFailure,
		);
	}

	/** All slices of all tracks. Each must be issued before the next is asked for. */
	async *slices(
		pace: Pace,
	): AsyncGenerator<{ track: Track; shardIndex: number; slice: OutputSlice }> {
		const { begun } = this;
		while (begun.size > 0 || this.waiting.length > 0) {
			await this.begin();
			const share = this.share();
			const free = [...begun.keys()].filter(({ pending }) => pending < share);
			if (free.length === 0) await this.arrivals.one();
			for (const track of free) {
				const { shardIndex, slice } = track.next(
					pace.sliceBytes,
					this.engine.slots.slotBytes,
				);
				if (track.isIssued) begun.delete(track);
				yield { track, shardIndex, slice };
			}
		}
	}

	/** Say that a slice of a track is made. @returns whether all of them are */
	made(track: Track): boolean {
		const areAll = track.made();
		this.arrivals.lookAgain();
		return areAll;
	}

	/** How many slices of one track may be under way: a file that comes slowly must not hold up the others. */
	private share(): number {
		const isAlone = this.begun.size <= 1 && !this.arrivals.isExpecting;
		const { count } = this.engine.slots;
		return isAlone ? count : Math.max(Math.floor(count / this.most), 1);
	}

	/** The files of the inputs that these are made of. */
	filesOf(segments: readonly Segment[]): Set<ByteSource> {
		return new Set(
			filesOf(segments, this.plan.fills).map(
				({ input, shard }) => this.sources[input]?.[shard] as ByteSource,
			),
		);
	}

	/** So many tracks are under way at once. */
	private get most(): number {
		return Math.max(this.engine.crew.threads, 1);
	}

	/** As many as may be, of those whose files are here. */
	private async begin(): Promise<void> {
		for (const track of [...this.waiting]) {
			if (this.begun.size >= this.most) return;
			const files = this.filesOf(track.segments);
			const isShared = [...this.begun.values()].some((others) =>
				[...others].some((source) => files.has(source)),
			);
			if (isShared && !this.sharesFiles) continue;
			if (!this.arrivals.has(files)) continue;
			this.waiting.splice(this.waiting.indexOf(track), 1);
			await this.openFills(track);
			this.begun.set(track, files);
		}
	}

	private async openFills({ segments }: Track): Promise<void> {
		for (const { input, shard } of segments.flatMap(spansOf))
			if (input === INPUT.fill && this.fills[shard] === undefined)
				this.fills[shard] = await openFill(
					...([this.plan.fills[shard] as Fill, this.sources] as const),
					this.engine,
				);
	}
}
