import { availableParallelism } from "node:os";
import { type Crew, openCrew } from "./crew.ts";
import { Digest, type DigestOptions } from "./digest.ts";
import {
	decideEngineOptions,
	type EngineChoices,
	type EngineOptions,
	MAX_THREADS,
} from "./engine-options.ts";
import { Slots } from "./slots.ts";

/** Less work than this is done before a thread has started. */
const SOLE_BYTES = 32 * 2 ** 20;
/** Slices of which all that waits is their reads and writes. More would be shorter, and each costs as much as a long one. */
const IO_SLICES = 4;
/** Room for a slice of the shortest kind, however its operands are strewn. */
const LEAST_SLOT_BYTES = 2 ** 19;
/** The rest is for what grows beside the slots: heaps of the threads, messages, what is written last. */
const USED_SHARE = 1 / 2;
/** Of that, where files are fetched meanwhile: up to 64 MB that came and went lie about before they are collected. */
const SHARE_BESIDE_FETCHING = 1 / 2;
/** More has not helped any disk that was measured: in one slot, and in all. */
const MAX_SLOT_BYTES = 24 * 2 ** 20;
const MAX_USED_BYTES = 128 * 2 ** 20;

/** Threads and memory, ready to run slices. Must be closed. */
export class Engine {
	readonly options: EngineOptions;
	readonly crew: Crew;
	readonly slots: Slots;

	/**
	 * @param byteLength  of all that will be read and written
	 * @param isFetching  whether files come from a network meanwhile
	 */
	constructor(options: EngineOptions, byteLength: number, isFetching = false) {
		this.options = options;
		const threads =
			options.threads ??
			(byteLength <= SOLE_BYTES
				? 0
				: Math.min(availableParallelism(), MAX_THREADS));
		const count = Math.min(
			Math.max(threads, 1) + IO_SLICES,
			Math.floor(options.memory / LEAST_SLOT_BYTES),
		);
		const most = Math.min(options.memory * USED_SHARE, MAX_USED_BYTES);
		const used = isFetching ? most * SHARE_BESIDE_FETCHING : most;
		const share = Math.floor(used / count / 2 ** 16) * 2 ** 16;
		const useful = Math.max(byteLength, LEAST_SLOT_BYTES);
		this.slots = new Slots(count, Math.min(share, MAX_SLOT_BYTES, useful));
		this.crew = openCrew(threads, options.kernel, this.slots.memory);
	}

	openDigest(options?: DigestOptions): Digest {
		return new Digest(this.crew, options);
	}

	async close(): Promise<void> {
		await this.crew.close();
	}
}

/** How files are read that are not merged. */
export type ReadingChoices = Omit<EngineChoices, "kernel">;

/**
 * Let `use` work with an engine that does no arithmetic, and close it.
 *
 * @param byteLength  of all that will be read
 */
export async function withReadingEngine<T>(
	choices: ReadingChoices,
	byteLength: number,
	use: (engine: Engine) => Promise<T>,
): Promise<T> {
	const options = decideEngineOptions({ ...choices, kernel: "js" });
	const engine = new Engine(options, byteLength);
	try {
		return await use(engine);
	} finally {
		await engine.close();
	}
}
