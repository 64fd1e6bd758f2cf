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
import type { DigestCursor } from "./digest-cursor.ts";
import type { Engine } from "./engine.ts";
import { openFill } from "./fill-source.ts";
import type { InputDigests } from "./input-digests.ts";
import type { Pace } from "./pace.ts";
import type { Slice } from "./slice.ts";
import { type ShardSlice, Track } from "./track.ts";

export interface ScheduleOptions {
	digests: InputDigests;
	/** whether tracks that are under way at once may read the same file */
	sharesFiles: boolean;
	/** called with what keeps a source from coming */
	onFailure(error: unknown): void;
}

/** Of one file, one that is hashed and one that is read: more would keep slots from what is written. */
const CURSOR_SLICES = 2;

/** A slice, and what it is of. */
export type Scheduled =
	| (ShardSlice & { from: Track })
	/** read for its checksum alone */
	| { slice: Slice; from: DigestCursor };

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
	private readonly digests: InputDigests;
	/** of the files that are read by what was begun */
	private cursors: DigestCursor[] = [];

	constructor(
		plan: MergePlan,
		tracks: readonly Track[],
		sources: readonly (readonly FileSource[])[],
		engine: Engine,
		{ digests, sharesFiles, onFailure }: ScheduleOptions,
	) {
		this.plan = plan;
		this.waiting = [...tracks];
		this.sources = [...sources, this.fills];
		this.engine = engine;
		this.digests = digests;
		this.sharesFiles = sharesFiles;
		const { directIo } = engine.options;
		const { dropPages } = engine.crew.kernel;
		this.arrivals = new Arrivals(
			sources.flat(),
			(source) => source.chooseReading(directIo, dropPages),
			onFailure,
		);
	}

	/** All slices of all tracks, and those the checksums want. Each must be issued before the next is asked for. */
	async *slices(pace: Pace): AsyncGenerator<Scheduled> {
		const { begun, waiting, arrivals } = this;
		while (begun.size > 0 || waiting.length > 0) {
			await this.beginNext();
			yield* this.turn(pace, false);
		}
		await arrivals.all();
		this.cursors = this.digests.unfinished;
		while (this.cursors.length > 0) yield* this.turn(pace, true);
	}

	/** Say that a slice is made. @returns the files of its track, where that has read all it will */
	made({ from }: Pick<Scheduled, "from">): ReadonlySet<ByteSource> {
		const areAll = from.made();
		this.arrivals.lookAgain();
		return areAll && from instanceof Track
			? this.filesOf(from.segments)
			: new Set();
	}

	/** A slice of each that may go on; waits where none may. @param isLast  whether all tracks are issued */
	private async *turn(pace: Pace, isLast: boolean): AsyncGenerator<Scheduled> {
		const { begun, digests } = this;
		const { sliceBytes } = pace;
		const { slotBytes } = this.engine.slots;
		let issued = 0;
		for (const track of [...begun.keys()]) {
			if (track.pending >= this.share(track)) continue;
			if (digests.await(track.peek(sliceBytes, slotBytes).slice)) continue;
			const { shardIndex, slice } = track.next(sliceBytes, slotBytes);
			if (track.isIssued) begun.delete(track);
			issued++;
			yield { shardIndex, slice, from: track };
		}
		for (const cursor of this.cursors) {
			if (cursor.pending >= CURSOR_SLICES) continue;
			const slice = cursor.next(slotBytes, isLast);
			if (slice === null) continue;
			issued++;
			yield { slice, from: cursor };
		}
		this.cursors = this.cursors.filter(({ isDone }) => !isDone);
		if (issued === 0) await this.arrivals.one();
	}

	/**
	 * How many slices of one track may be under way: a file that comes slowly must not hold up the others. The first
	 * has most, so that tracks do not end together, when nothing is left to do but to write.
	 */
	private share(track: Track): number {
		const { begun, most } = this;
		const { count } = this.engine.slots;
		if (begun.size <= 1 && !this.arrivals.isExpecting) return count;
		const each = Math.max(Math.floor(count / (most + 1)), 1);
		const [first] = begun.keys();
		return track === first ? Math.max(count - (most - 1) * each, 1) : each;
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

	/**
	 * The next whose files are here, if another may be under way. Not while those that are wait for as many checksums
	 * as there are threads: it would wait with them, and write nothing meanwhile.
	 */
	private async beginNext(): Promise<void> {
		if (this.begun.size >= this.most) return;
		const awaited = this.cursors.filter(({ isAwaited }) => isAwaited);
		if (awaited.length >= this.most) return;
		for (const track of this.waiting) {
			const files = this.filesOf(track.segments);
			const isShared = [...this.begun.values()].some((others) =>
				[...others].some((source) => files.has(source)),
			);
			if (isShared && !this.sharesFiles) continue;
			if (!this.arrivals.has(files)) continue;
			this.waiting.splice(this.waiting.indexOf(track), 1);
			await this.openFills(track);
			this.begun.set(track, files);
			this.follow(files);
			return;
		}
	}

	/** From now on hash what these files hold beside what the plan reads in order. */
	private follow(files: ReadonlySet<ByteSource>): void {
		const isNew = (cursor: DigestCursor) =>
			files.has(cursor.source) && !this.cursors.includes(cursor);
		this.cursors.push(...this.digests.unfinished.filter(isNew));
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
