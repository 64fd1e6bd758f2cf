import type { MergePlan, OutputShard } from "../delta/plan.ts";
import type { Engine } from "./engine.ts";
import type { Ground } from "./ground.ts";
import { Lane, type OpenShard } from "./lane.ts";
import type { PassingInputs } from "./passing-inputs.ts";
import type { Schedule } from "./schedule.ts";
import type { Track } from "./track.ts";

/** What decides how a shard is written and claimed. */
export interface LaneSources {
	tracks: readonly Track[];
	schedule: Schedule;
	passing: PassingInputs;
}

/** The shards that are being written, each opened once a slice of it is issued. Must be abandoned. */
export class Lanes {
	private readonly opened = new Map<number, Lane>();
	private readonly plan: MergePlan;
	private readonly sources: LaneSources;
	private readonly ground: Ground;
	private readonly engine: Engine;

	constructor(
		plan: MergePlan,
		sources: LaneSources,
		ground: Ground,
		engine: Engine,
	) {
		this.plan = plan;
		this.sources = sources;
		this.ground = ground;
		this.engine = engine;
		for (const opened of ground.reused.begun.values()) this.add(opened);
	}

	/** The lane of a shard. */
	async of(shardIndex: number): Promise<Lane> {
		const lane = this.opened.get(shardIndex);
		if (lane !== undefined) return lane;
		const { directIo } = this.engine.options;
		const shard = this.plan.shards[shardIndex] as OutputShard;
		const file = await this.ground.staging.create(shard.fileName, directIo);
		const digest = this.engine.openDigest();
		const opened = { shardIndex, shard, file, digest, fileOffset: 0 };
		const added = this.add(opened);
		await file.preallocate(shard.byteLength);
		return added;
	}

	/** Close all files, whether whole or not. */
	async abandon(): Promise<void> {
		for (const lane of this.opened.values()) await lane.abandon(this.ground);
	}

	private add(opened: OpenShard): Lane {
		const { shardIndex } = opened;
		const { tracks, schedule, passing } = this.sources;
		const stretches = tracks
			.flatMap((track) => track.stretches)
			.filter((stretch) => stretch.shardIndex === shardIndex);
		const files = schedule.filesOf(
			stretches.flatMap(({ segments }) => segments),
		);
		const { syncBytes } = this.engine.options;
		const lane = new Lane(opened, this.engine, {
			isInOrder: stretches.length === 1,
			syncBytes: passing.hasAny(files) ? Infinity : syncBytes,
			inputsAreRight: () => passing.areRight(files),
		});
		this.opened.set(shardIndex, lane);
		return lane;
	}
}
