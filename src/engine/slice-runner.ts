import type { MergePlan } from "../delta/plan.ts";
import { throwIfAborted } from "../errors.ts";
import type { ByteSource } from "../io/byte-source.ts";
import type { Engine } from "./engine.ts";
import type { HashedRead } from "./input-digests.ts";
import type { Lane, LaneSlice } from "./lane.ts";
import type { Scheduled } from "./schedule.ts";
import type { Slice } from "./slice.ts";
import type { Slot } from "./slots.ts";

/** A slice that has been issued, with its places in the checksums. */
export interface Issued extends Pick<Scheduled, "slice" | "from"> {
	/** null where bytes are read for their checksum alone */
	output: { lane: Lane; issued: LaneSlice } | null;
	/** of each of the slice's reads */
	hashedReads: HashedRead[];
}

/** Takes a slice through its slot: read, compute, hash, write. */
export class SliceRunner {
	/** added up over all reads and writes, many of which are under way at once */
	readonly seconds = { read: 0, write: 0 };
	private readonly plan: MergePlan;
	/** by input and shard, the fills as the last input */
	private readonly sources: readonly (readonly ByteSource[])[];
	private readonly engine: Engine;

	constructor(
		plan: MergePlan,
		sources: readonly (readonly ByteSource[])[],
		engine: Engine,
	) {
		this.plan = plan;
		this.sources = sources;
		this.engine = engine;
	}

	async run({ slice, output, hashedReads }: Issued, slot: Slot): Promise<void> {
		try {
			const { signal } = this.engine.options;
			const where = output?.lane.shard.fileName ?? "checksums";
			throwIfAborted(signal, where);
			await this.read(slice, hashedReads, slot);
			const inputs = this.hashReads(slice, hashedReads, slot);
			inputs.catch(() => {}); // told where it is awaited
			if (output !== null) await this.make(output, slot);
			await inputs;
		} finally {
			output?.issued.outPlace?.skip();
			for (const { stretches } of hashedReads)
				for (const { place } of stretches) place.skip();
		}
	}

	private async read(
		{ reads }: Slice,
		hashedReads: readonly HashedRead[],
		slot: Slot,
	): Promise<void> {
		await this.timed("read", () =>
			Promise.all(
				reads.map(({ input, shard, fileOffset, byteLength, slotOffset }, i) => {
					const source = this.sources[input]?.[shard];
					if (!source)
						throw new RangeError(`no source ${shard} of input ${input}`);
					// Widened reads may reach beyond the end.
					const end = source.readableLength ?? source.byteLength;
					const length = Math.min(byteLength, end - fileOffset);
					const into = slot.view(slotOffset, length);
					return source.read(fileOffset, into, hashedReads[i]?.isOneOfTwo);
				}),
			),
		);
	}

	private async hashReads(
		{ reads }: Slice,
		hashedReads: readonly HashedRead[],
		slot: Slot,
	): Promise<void> {
		const { byteOffset: slotBegin } = slot;
		await Promise.all(
			reads.flatMap(({ slotOffset }, i) =>
				hashedReads[i]?.stretches.map(({ place, byteOffset, byteLength }) =>
					place.hash(slotBegin + slotOffset + byteOffset, byteLength),
				),
			),
		);
	}

	private async make(
		{ lane, issued }: NonNullable<Issued["output"]>,
		slot: Slot,
	): Promise<void> {
		await this.compute(lane, issued, slot);
		const { byteLength } = issued.slice.write;
		await Promise.all([
			issued.outPlace?.hash(slot.byteOffset, byteLength),
			this.timed("write", () => lane.write(issued, slot.view(0, byteLength))),
		]);
	}

	private async compute(
		lane: Lane,
		issued: LaneSlice,
		slot: Slot,
	): Promise<void> {
		const { literals, parts } = issued.slice;
		for (const { slotOffset, bytes } of literals)
			slot.view(slotOffset, bytes.length).set(bytes);
		if (parts.length === 0) return;
		const { byteOffset: slotOffset } = slot;
		const sum = this.plan.sum !== null;
		const step = { kind: "add", slotOffset, parts, sum } as const;
		lane.count(issued, await this.engine.crew.perform(step));
	}

	async timed<T>(stage: "read" | "write", work: () => Promise<T>): Promise<T> {
		const started = performance.now();
		try {
			return await work();
		} finally {
			this.seconds[stage] += (performance.now() - started) / 1000;
		}
	}
}
