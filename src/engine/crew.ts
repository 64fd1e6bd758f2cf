import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import type { Kernel, KernelName } from "../kernel/kernel.ts";
import { openKernel } from "../kernel/select.ts";
import { DigestOwners } from "./digest-owners.ts";
import { type Step, type StepResult, StepRunner } from "./step.ts";
import type { WorkerStart } from "./worker.ts";

/** So many steps are with a thread at once: one it does, one that waits there, so that it never idles. */
const STEPS_PER_THREAD = 2;

/** What a thread makes is soon garbage, and need not pile up: it holds 6 MB, and its buffers lie elsewhere. */
const LIMITS = { maxYoungGenerationSizeMb: 3, maxOldGenerationSizeMb: 16 };

/** Start a thread from compiled code or, in development, from the source, which is compiled first. */
function startWorker(start: WorkerStart): Worker {
	// No arguments of the process: they may be for its main script alone.
	const options = { workerData: start, execArgv: [], resourceLimits: LIMITS };
	const require = createRequire(import.meta.url);
	if (import.meta.url.endsWith(".js"))
		return new Worker(require.resolve("#worker"), options);
	workerProgram ??= compileWorker(require("esbuild"));
	return new Worker(workerProgram, { ...options, eval: true });
}

let workerProgram: string | undefined;

/** Once for all threads: with a loader of its own each would start ten times slower. */
function compileWorker({ buildSync }: typeof import("esbuild")): string {
	const { url } = import.meta;
	const { outputFiles } = buildSync({
		entryPoints: [fileURLToPath(new URL("./worker.ts", url))],
		...{ bundle: true, write: false, platform: "node", format: "cjs" },
		define: { "import.meta.url": JSON.stringify(url) },
	});
	return outputFiles.map(({ text }) => text).join("");
}

/** Seconds of all threads, by what they did. */
export interface CrewSeconds {
	/** arithmetic, comparisons, and the CRCs that are taken with them */
	add: number;
	hash: number;
	/** threads that had nothing to do */
	wait: number;
}

/** Those who do the arithmetic and the hashing. Must be closed. */
export interface Crew {
	readonly threads: number;
	readonly seconds: CrewSeconds;
	/** of the kind that each of them has: it tells how files are hashed */
	readonly kernel: Kernel;
	/** Do a step; those of one file are done in the order they are given. */
	perform(step: Step): Promise<StepResult>;
	close(): Promise<void>;
}

/**
 * @param threads  0: the calling thread does all, which for small models is sooner done than starting one
 * @param memory   shared, where the slots lie
 */
export function openCrew(
	threads: number,
	kernel: KernelName,
	memory: WebAssembly.Memory,
): Crew {
	return threads === 0
		? new SoleCrew(openKernel(kernel, memory), memory.buffer)
		: new ThreadCrew(threads, { kernel, memory });
}

function countSeconds(
	seconds: CrewSeconds,
	step: Step,
	result: StepResult,
): void {
	seconds["file" in step ? "hash" : "add"] += result.seconds;
}

class SoleCrew implements Crew {
	readonly threads = 0;
	readonly seconds = { add: 0, hash: 0, wait: 0 };
	readonly kernel: Kernel;
	private readonly runner: StepRunner;

	constructor(kernel: Kernel, buffer: ArrayBufferLike) {
		this.kernel = kernel;
		this.runner = new StepRunner(kernel, buffer);
	}

	async perform(step: Step): Promise<StepResult> {
		const result = this.runner.run(step);
		countSeconds(this.seconds, step, result);
		return result;
	}

	async close(): Promise<void> {}
}

interface Entry {
	step: Step;
	resolve(result: StepResult): void;
	reject(error: unknown): void;
}

interface Member {
	worker: Worker;
	/** steps it was sent, the first being done */
	sent: Entry[];
}

/** Threads that take the next step they may do. */
class ThreadCrew implements Crew {
	readonly seconds = { add: 0, hash: 0, wait: 0 };
	readonly kernel: Kernel;
	private readonly members: Member[];
	private readonly opened = performance.now();
	private readonly owners: DigestOwners<Member>;
	private readonly queue: Entry[] = [];
	private failure: unknown = null;
	private closing = false;

	constructor(threads: number, start: WorkerStart) {
		this.members = Array.from({ length: threads }, () => {
			const worker = startWorker(start);
			const member: Member = { worker, sent: [] };
			worker.on("message", (result) => this.receive(member, result));
			worker.on("error", (error) => this.fail(error));
			worker.on("exit", (code) => {
				if (!this.closing)
					this.fail(new Error(`a worker thread ended with code ${code}`));
			});
			return member;
		});
		this.kernel = openKernel(start.kernel);
		this.owners = new DigestOwners(this.members);
	}

	get threads(): number {
		return this.members.length;
	}

	perform(step: Step): Promise<StepResult> {
		return new Promise((resolve, reject) => {
			if (this.failure !== null) return reject(this.failure);
			this.queue.push({ step, resolve, reject });
			this.dispatch();
		});
	}

	async close(): Promise<void> {
		if (this.closing) return;
		this.closing = true;
		this.fail(new Error("the crew was closed"));
		await Promise.all(this.members.map(({ worker }) => worker.terminate()));
		const elapsed = (performance.now() - this.opened) / 1000;
		const { seconds } = this;
		seconds.wait = elapsed * this.threads - seconds.add - seconds.hash;
	}

	private receive(member: Member, result: StepResult): void {
		const entry = member.sent.shift();
		if (!entry) return;
		const { step } = entry;
		countSeconds(this.seconds, step, result);
		if ("file" in step) this.owners.release(step.file, step.kind === "finish");
		entry.resolve(result);
		this.dispatch();
	}

	/** Give out what can be given, to those with the least to do first. */
	private dispatch(): void {
		for (let depth = 0; depth < STEPS_PER_THREAD; depth++)
			for (const member of this.members)
				if (member.sent.length === depth) this.send(member);
	}

	private send(member: Member): void {
		const index = this.queue.findIndex(
			({ step }) => !("file" in step) || this.owners.mayHash(member, step.file),
		);
		const [entry] = index < 0 ? [] : this.queue.splice(index, 1);
		if (!entry) return;
		if ("file" in entry.step) this.owners.take(member, entry.step.file);
		member.sent.push(entry);
		member.worker.postMessage(entry.step);
	}

	private fail(error: unknown): void {
		this.failure ??= error;
		const waiting = this.members.flatMap(({ sent }) => sent.splice(0));
		for (const { reject } of [...waiting, ...this.queue.splice(0)])
			reject(this.failure);
	}
}
