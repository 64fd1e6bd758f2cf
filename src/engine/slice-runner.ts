import type { MergePlan } from "../delta/plan.ts";
import { throwIfAborted } from "../errors.ts";
import type { ByteSource } from "../io/byte-source.ts";
import type { Engine } from "./engine.ts";
import type { HashedRead } from "./input-digests.ts";
import type { Lane, LaneSlice } from "./lane.ts";
import type { Scheduled } from "./schedule.ts";
import type { Slice } from "./slice.ts";
import type { Slot } from "./slots.ts";
import type { Counts } from "./tally.ts";

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
			const counts = await this.compute(slice, hashedReads, slot);
			if (output !== null) await this.write(output, counts, slot);
			await inputs;
		} finally {
			output?.issued.outPlace?.skip();
			for (const { hashed } of hashedReads)
				for (const { place } of hashed) place.skip();
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
				hashedReads[i]?.hashed.map(({ place, byteOffset, byteLength }) =>
					place.hash(slotBegin + slotOffset + byteOffset, byteLength),
				),
			),
		);
	}

	private async write(
		{ lane, issued }: NonNullable<Issued["output"]>,
		counts: Counts | null,
		slot: Slot,
	): Promise<void> {
		if (counts !== null) lane.count(issued, counts);
		const { byteLength } = issued.slice.write;
		await Promise.all([
			issued.outPlace?.hash(slot.byteOffset, byteLength),
			this.timed("write", () => lane.write(issued, slot.view(0, byteLength))),
		]);
	}

	/** Make the output, and check what has no place in a checksum. @returns null where there was nothing to do */
	private async compute(
		{ reads, literals, parts }: Slice,
		hashedReads: readonly HashedRead[],
		slot: Slot,
	): Promise<Counts | null> {
		for (const { slotOffset, bytes } of literals)
			slot.view(slotOffset, bytes.length).set(bytes);
		const checks = reads.flatMap(({ slotOffset: readOffset }, i) =>
			(hashedReads[i]?.checked ?? []).map(
				({ byteOffset, byteLength, take }) => ({
					place: { slotOffset: readOffset + byteOffset, byteLength },
					take,
				}),
			),
		);
		if (parts.length === 0 && checks.length === 0) return null;
		const { byteOffset: slotOffset } = slot;
		const sum = this.plan.sum !== null;
		const checked = checks.map(({ place }) => place);
		const step = { kind: "add", slotOffset, parts, sum, checked } as const;
		const result = await this.engine.crew.perform(step);
		for (const [i, { take }] of checks.entries())
			take(result.crc32s[i] as number);
		return result;
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
