import type { MergePlan, OutputShard, Span } from "../delta/plan.ts";
import { throwIfAborted } from "../errors.ts";
import { headerBytes } from "../format/safetensors-writer.ts";
import type { ByteSource } from "../io/byte-source.ts";
import type { OutputFile, WrittenFile } from "../io/output-file.ts";
import type { Staging } from "../io/staging.ts";
import type { AddCounts, Kernel } from "../kernel/kernel.ts";
import { type Slice, sliceShard } from "./slice.ts";

/** Where a run stands, after each slice. */
export interface Progress {
	/** of the shard that is being written, from 0 */
	shardIndex: number;
	shardCount: number;
	shardFileName: string;
	shardWrittenBytes: number;
	shardBytes: number;
	/** of all shards */
	writtenBytes: number;
	totalBytes: number;
}

export interface EngineOptions {
	kernel: Kernel;
	/** longest operand or result in memory; five buffers of this length are held */
	sliceBytes: number;
	signal?: AbortSignal | undefined;
	onProgress?: ((progress: Progress) => void) | undefined;
}

export interface RunResult {
	shards: WrittenFile[];
	/** tensors with results that are not finite, by name */
	nonFinite: Map<string, AddCounts>;
}

/**
 * Write every output shard of a plan into the staging folder, in slices.
 *
 * @param sources  one list of open weight files for each of `plan.inputs`
 * @throws {InterruptedError} once `signal` is aborted
 */
export async function runPlan(
	plan: MergePlan,
	sources: readonly (readonly ByteSource[])[],
	staging: Staging,
	options: EngineOptions,
): Promise<RunResult> {
	const run = new Run(plan, sources, options);
	const shards: WrittenFile[] = [];
	for (const [shardIndex, shard] of plan.shards.entries()) {
		const file = await staging.write(shard.fileName, (file) =>
			run.writeShard(shard, shardIndex, file),
		);
		shards.push(file);
	}
	return { shards, nonFinite: run.nonFinite };
}

interface Operands {
	base: Uint8Array;
	delta: Uint8Array;
}

class Run {
	readonly nonFinite = new Map<string, AddCounts>();
	private readonly plan: MergePlan;
	private readonly sources: readonly (readonly ByteSource[])[];
	private readonly options: EngineOptions;
	private readonly totalBytes: number;
	private readonly out: Uint8Array;
	/** two, so that one is filled while the other is added */
	private readonly operands: readonly [Operands, Operands];
	private writtenBytes = 0;

	constructor(
		plan: MergePlan,
		sources: readonly (readonly ByteSource[])[],
		options: EngineOptions,
	) {
		this.plan = plan;
		this.sources = sources;
		this.options = options;
		this.totalBytes = plan.shards.reduce((sum, s) => sum + s.byteLength, 0);
		const buffer = () => new Uint8Array(options.sliceBytes);
		this.out = buffer();
		this.operands = [
			{ base: buffer(), delta: buffer() },
			{ base: buffer(), delta: buffer() },
		];
	}

	async writeShard(
		shard: OutputShard,
		shardIndex: number,
		file: OutputFile,
	): Promise<void> {
		const written = async (bytes: Uint8Array) => {
			await file.append(bytes);
			this.writtenBytes += bytes.length;
			this.options.onProgress?.({
				shardIndex,
				shardCount: this.plan.shards.length,
				shardFileName: shard.fileName,
				shardWrittenBytes: file.byteLength,
				shardBytes: shard.byteLength,
				writtenBytes: this.writtenBytes,
				totalBytes: this.totalBytes,
			});
		};
		await written(headerBytes(shard.header));
		for await (const { slice, base, delta } of this.readAhead(shard))
			await written(this.add(slice, base, delta));
		if (file.byteLength !== shard.byteLength)
			throw new RangeError(
				`${shard.fileName}: wrote ${file.byteLength} bytes of ${shard.byteLength}`,
			);
	}

	/** The slices of a shard with their operands, the next being read while one is used. */
	private async *readAhead(
		shard: OutputShard,
	): AsyncGenerator<Operands & { slice: Slice }> {
		let turn = 0;
		let ahead: Promise<Operands & { slice: Slice }> | null = null;
		try {
			for (const slice of sliceShard(shard, this.options.sliceBytes)) {
				const ready = ahead === null ? null : await ahead;
				ahead = this.read(slice, this.operands[turn++ % 2] as Operands);
				ahead.catch(() => {}); // told where it is awaited
				if (ready !== null) yield ready;
			}
			if (ahead !== null) yield await ahead;
		} finally {
			await ahead?.catch(() => {}); // nothing may still be read into a buffer
		}
	}

	private async read(
		slice: Slice,
		into: Operands,
	): Promise<Operands & { slice: Slice }> {
		throwIfAborted(this.options.signal, slice.segment.tensor);
		const base = into.base.subarray(0, slice.base.byteLength);
		const delta = into.delta.subarray(0, slice.delta.byteLength);
		await Promise.all([
			this.sourceOf(slice.base).read(slice.base.fileOffset, base),
			this.sourceOf(slice.delta).read(slice.delta.fileOffset, delta),
		]);
		return { slice, base, delta };
	}

	private sourceOf({ input, shard }: Span): ByteSource {
		const source = this.sources[input]?.[shard];
		if (!source) throw new RangeError(`no source ${shard} of input ${input}`);
		return source;
	}

	private add(
		{ segment, byteLength }: Slice,
		base: Uint8Array,
		delta: Uint8Array,
	): Uint8Array {
		const out = this.out.subarray(0, byteLength);
		const counts = this.options.kernel.add(segment.spec, base, delta, out);
		if (counts.nonFinite > 0) {
			const known = this.nonFinite.get(segment.tensor);
			this.nonFinite.set(segment.tensor, {
				nonFinite: (known?.nonFinite ?? 0) + counts.nonFinite,
				overflowed: (known?.overflowed ?? 0) + counts.overflowed,
			});
		}
		return out;
	}
}
