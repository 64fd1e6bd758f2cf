import {
	type Fill,
	filesOf,
	INPUT,
	type MergePlan,
	type OutputShard,
	spansOf,
} from "../delta/plan.ts";
import { addSums } from "../delta/published-sum.ts";
import { throwIfAborted, VerificationError } from "../errors.ts";
import type { ByteSource } from "../io/byte-source.ts";
import { DIRECT_ALIGNMENT } from "../io/direct-io.ts";
import { type FileSource, openFileSource } from "../io/file-source.ts";
import type { OutputFile, WrittenFile } from "../io/output-file.ts";
import type { Staging } from "../io/staging.ts";
import type { AddCounts } from "../kernel/kernel.ts";
import type { Unrestored } from "../kernel/restoration.ts";
import { Arrivals } from "./arrivals.ts";
import type { Digest, DigestPlace } from "./digest.ts";
import { digestFile } from "./digest-file.ts";
import type { Engine } from "./engine.ts";
import { openFill } from "./fill-source.ts";
import { type HashedRead, InputDigests } from "./input-digests.ts";
import { Pace } from "./pace.ts";
import type { Slice } from "./slice.ts";
import type { Slot } from "./slots.ts";
import { Tally } from "./tally.ts";
import { type Track, tracksByPassing, tracksByShard } from "./track.ts";

/** Where a run stands, after each slice. */
export interface Progress {
	/** of the shard that was just written to, from 0 */
	shardIndex: number;
	shardCount: number;
	shardFileName: string;
	shardWrittenBytes: number;
	shardBytes: number;
	/** of all shards */
	writtenBytes: number;
	totalBytes: number;
}

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
 * @param sources  one list of open weight files for each of `plan.inputs`; a shard is begun once those it reads are here
 * @throws {InterruptedError} once the engine's signal is aborted
 */
export async function runPlan(
	plan: MergePlan,
	sources: readonly (readonly FileSource[])[],
	staging: Staging,
	engine: Engine,
	options: RunOptions,
): Promise<RunResult> {
	return new Run(plan, sources, staging, engine, options).run();
}

/** An output shard that is being written. */
interface Output {
	shardIndex: number;
	shard: OutputShard;
	file: OutputFile;
	/** null where its bytes are not made in their order */
	digest: Digest | null;
	writtenBytes: number;
}

/** A slice that has been issued, with its places in the checksums. */
interface Issued {
	slice: Slice;
	output: Output | null;
	outPlace: DigestPlace | null;
	/** of each of the slice's reads */
	hashedReads: HashedRead[][];
}

const FIRST_SLICE_BYTES = 2 ** 22;
/** Below this, handing a slice to other threads costs more than its arithmetic. */
const LEAST_SLICE_BYTES = 2 ** 20;

class Run {
	private readonly plan: MergePlan;
	/** by input and shard, the fills as the last input: each is made once a shard wants it */
	private readonly sources: readonly (readonly ByteSource[])[];
	private readonly fills: ByteSource[] = [];
	private readonly arrivals: Arrivals;
	private readonly staging: Staging;
	private readonly engine: Engine;
	private readonly options: RunOptions;
	private readonly totalBytes: number;
	private readonly digests: InputDigests | null;
	private readonly pace: Pace;
	/** tracks that are under way, each with the input files it reads */
	private readonly lanes = new Map<Track, ReadonlySet<ByteSource>>();
	private readonly outputs = new Map<number, Output>();
	private readonly running = new Set<Promise<void>>();
	readonly seconds = { read: 0, write: 0 };
	private readonly waiting: Track[];
	/** of each shard */
	private readonly stretchCounts = new Map<number, number>();
	/** whether inputs pass, so that the order of their bytes counts and not the output's */
	private readonly isPassing: boolean;
	private readonly shards: WrittenFile[] = [];
	private readonly tally = new Tally();
	private writtenBytes = 0;
	private failed = false;
	private failure: unknown;

	constructor(
		plan: MergePlan,
		sources: readonly (readonly FileSource[])[],
		staging: Staging,
		engine: Engine,
		options: RunOptions,
	) {
		this.plan = plan;
		this.sources = [...sources, this.fills];
		const { directIo } = engine.options;
		this.arrivals = new Arrivals(sources.flat(), (source) =>
			source.chooseReading(directIo),
		);
		this.staging = staging;
		this.engine = engine;
		this.options = options;
		this.totalBytes = plan.shards.reduce((sum, s) => sum + s.byteLength, 0);
		const passing = sources.flat().filter(({ passing }) => passing);
		this.isPassing = passing.length > 0;
		this.waiting = this.isPassing
			? tracksByPassing(
					plan,
					({ input, shard }) => sources[input]?.[shard]?.passing !== undefined,
				)
			: tracksByShard(plan);
		for (const shardIndex of this.waiting.flatMap((t) => t.shardIndices)) {
			const count = this.stretchCounts.get(shardIndex) ?? 0;
			this.stretchCounts.set(shardIndex, count + 1);
		}
		const digests = new InputDigests(engine, sources, options.inputSums);
		this.digests = digests.isEmpty ? null : digests;
		const most = engine.slots.slotBytes / 3;
		this.pace = new Pace({
			first: FIRST_SLICE_BYTES,
			least: Math.min(LEAST_SLICE_BYTES, alignDown(most)),
			most: alignDown(most),
		});
	}

	async run(): Promise<RunResult> {
		const { slots } = this.engine;
		try {
			for await (const issued of this.issue()) {
				const slot = await slots.take();
				if (this.failed) break;
				this.follow(
					this.runSlice(issued, slot).finally(() => slots.give(slot)),
				);
			}
		} catch (error) {
			this.fail(error);
		}
		while (this.running.size > 0) await Promise.all(this.running);
		for (const { file } of this.outputs.values()) await file.abandon();
		if (this.failed) throw this.failure;
		const { nonFinite, unrestored, sums } = this.tally;
		for (const { passing } of this.sources.flat()) await passing?.finish();
		return {
			shards: this.shards,
			inputSums: (await this.digests?.finish()) ?? null,
			nonFinite,
			unrestored,
			sum: this.plan.sum && addSums(this.plan.sum, sums),
			seconds: this.seconds,
		};
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
		this.arrivals.fail(error);
	}

	/** All slices of all shards, a few shards in turn, and then what the checksums still want. */
	private async *issue(): AsyncGenerator<Issued> {
		const { pace, digests, lanes } = this;
		const { slotBytes } = this.engine.slots;
		while (lanes.size > 0 || this.waiting.length > 0) {
			await this.openLanes();
			if (lanes.size === 0) await this.arrivals.one();
			for (const track of lanes.keys()) {
				const { sliceBytes } = pace;
				const { shardIndex, slice } = track.next(sliceBytes, slotBytes);
				if (digests)
					for (const early of digests.catchUp(slice, sliceBytes))
						yield this.place(early, null);
				if (track.isDone) lanes.delete(track);
				yield this.place(slice, await this.outputOf(shardIndex));
			}
		}
		await this.arrivals.all();
		if (digests)
			for (const slice of digests.remainder(pace.sliceBytes))
				yield this.place(slice, null);
	}

	/** As many tracks at once as there are threads, of those whose inputs are here and, if they are hashed, no other's. */
	private async openLanes(): Promise<void> {
		const most = Math.max(this.engine.crew.threads, 1);
		for (const track of [...this.waiting]) {
			if (this.lanes.size >= most) return;
			const inputs = this.inputsOf(track);
			const isShared = [...this.lanes.values()].some((others) =>
				[...others].some((source) => inputs.has(source)),
			);
			if (this.digests && isShared && !this.isPassing) continue;
			if (!this.arrivals.has(inputs)) continue;
			this.waiting.splice(this.waiting.indexOf(track), 1);
			await this.openFills(track);
			this.lanes.set(track, inputs);
		}
	}

	private inputsOf({ segments }: Track): Set<ByteSource> {
		return new Set(
			filesOf(segments, this.plan.fills).map(
				({ input, shard }) => this.sources[input]?.[shard] as ByteSource,
			),
		);
	}

	private async outputOf(shardIndex: number): Promise<Output> {
		const opened = this.outputs.get(shardIndex);
		if (opened) return opened;
		const shard = this.plan.shards[shardIndex] as OutputShard;
		const { directIo } = this.engine.options;
		const output: Output = {
			...{ shardIndex, shard, writtenBytes: 0 },
			file: await this.staging.create(shard.fileName, directIo),
			digest: this.isInOrder(shardIndex) ? this.engine.openDigest() : null,
		};
		this.outputs.set(shardIndex, output);
		return output;
	}

	/** Whether a shard is made from its start to its end: it is one stretch of one track. */
	private isInOrder(shardIndex: number): boolean {
		return this.stretchCounts.get(shardIndex) === 1;
	}

	private async openFills({ segments }: Track): Promise<void> {
		for (const { input, shard } of segments.flatMap(spansOf))
			if (input === INPUT.fill && this.fills[shard] === undefined)
				this.fills[shard] = await openFill(
					...([this.plan.fills[shard] as Fill, this.sources] as const),
					this.engine,
				);
	}

	/** Take the slice's places in all checksums, in the order of issue. */
	private place(slice: Slice, output: Output | null): Issued {
		return {
			...{ slice, output },
			outPlace: output?.digest?.takePlace() ?? null,
			hashedReads: slice.reads.map(
				(read) => this.digests?.takePlaces(read) ?? [],
			),
		};
	}

	private async runSlice(issued: Issued, slot: Slot): Promise<void> {
		const { slice, output, outPlace, hashedReads } = issued;
		try {
			const { signal } = this.engine.options;
			throwIfAborted(signal, output?.shard.fileName ?? "checksums");
			await this.read(slice, slot);
			const inputs = this.hashReads(issued, slot);
			inputs.catch(() => {}); // told where it is awaited
			if (slice.write && output) {
				await this.make(slice, slot);
				const { fileOffset, byteLength } = slice.write;
				await Promise.all([
					outPlace?.hash(slot.byteOffset, byteLength),
					this.timed("write", () =>
						output.file.write(fileOffset, slot.view(0, byteLength)),
					),
				]);
			}
			await inputs;
		} finally {
			outPlace?.skip();
			for (const { place } of hashedReads.flat()) place.skip();
		}
		this.pace.done(slice.write?.byteLength ?? 0);
		if (output && slice.write) this.written(output, slice.write.byteLength);
	}

	private async read(slice: Slice, slot: Slot): Promise<void> {
		await this.timed("read", () =>
			Promise.all(
				slice.reads.map(
					({ input, shard, fileOffset, byteLength, slotOffset }) => {
						const source = this.sources[input]?.[shard];
						if (!source)
							throw new RangeError(`no source ${shard} of input ${input}`);
						// Widened reads may reach beyond the end.
						const end = source.readableLength ?? source.byteLength;
						const length = Math.min(byteLength, end - fileOffset);
						return source.read(fileOffset, slot.view(slotOffset, length));
					},
				),
			),
		);
	}

	private async hashReads(
		{ slice, hashedReads }: Issued,
		slot: Slot,
	): Promise<void> {
		await Promise.all(
			slice.reads.flatMap(({ slotOffset }, i) =>
				(hashedReads[i] ?? []).map(({ place, byteOffset, byteLength }) =>
					place.hash(slot.byteOffset + slotOffset + byteOffset, byteLength),
				),
			),
		);
	}

	private async make({ literals, parts }: Slice, slot: Slot): Promise<void> {
		for (const { slotOffset, bytes } of literals)
			slot.view(slotOffset, bytes.length).set(bytes);
		if (parts.length === 0) return;
		const { crew } = this.engine;
		const { byteOffset: slotOffset } = slot;
		const sum = this.plan.sum !== null;
		const step = { kind: "add", slotOffset, parts, sum } as const;
		this.tally.add(await crew.perform(step));
	}

	private written(output: Output, byteLength: number): void {
		const { shardIndex, shard } = output;
		output.writtenBytes += byteLength;
		this.writtenBytes += byteLength;
		this.options.onProgress?.({
			shardIndex,
			shardCount: this.plan.shards.length,
			shardFileName: shard.fileName,
			shardWrittenBytes: output.writtenBytes,
			shardBytes: shard.byteLength,
			writtenBytes: this.writtenBytes,
			totalBytes: this.totalBytes,
		});
		if (output.writtenBytes === shard.byteLength)
			this.follow(this.finish(output));
	}

	private async finish({ shardIndex, shard, file, digest }: Output) {
		const { fileName, byteLength, sha256: expected } = shard;
		const [inOrder] = await Promise.all([
			digest?.finish(),
			this.timed("write", () => file.finish()),
		]);
		const sha256 = inOrder ?? (await this.digestWritten(file));
		if (expected !== null && sha256 !== expected)
			throw new VerificationError({
				where: fileName,
				what: "the result is not what its publisher made, so nothing was published",
				expected: `SHA-256 ${expected}`,
				found: sha256,
				remedy: "Is it the right base, and are both files whole?",
			});
		this.shards[shardIndex] = { fileName, byteLength, sha256 };
	}

	/** Of a file whose bytes were not made in their order: read it once more. */
	private async digestWritten({ path }: OutputFile): Promise<string> {
		const source = await openFileSource(path);
		try {
			await source.chooseReading(this.engine.options.directIo);
			return await digestFile(this.engine, source, path);
		} finally {
			await source.close();
		}
	}

	private async timed<T>(
		stage: "read" | "write",
		work: () => Promise<T>,
	): Promise<T> {
		const started = performance.now();
		try {
			return await work();
		} finally {
			this.seconds[stage] += (performance.now() - started) / 1000;
		}
	}
}

function alignDown(byteLength: number): number {
	return byteLength - (byteLength % DIRECT_ALIGNMENT);
}
