import type { MergePlan } from "../delta/plan.ts";
import { MismatchError, throwIfAborted, VerificationError } from "../errors.ts";
import { LOCAL_FILES } from "../io/file-system.ts";
import { thisProcess } from "../io/owner.ts";
import type { Place } from "../io/take-over.ts";
import type { AddCounts, KernelName } from "../kernel/kernel.ts";
import { Engine } from "./engine.ts";
import { decideEngineOptions, type EngineChoices } from "./engine-options.ts";
import type { Manifest } from "./manifest.ts";
import { preflight } from "./preflight.ts";
import type { Progress } from "./progress.ts";
import { runPlan } from "./run-plan.ts";
import {
	outputBytes,
	type Resumed,
	runStaged,
	type StagedOptions,
} from "./staged-run.ts";
import { type OpenInputs, writeBeside } from "./write-output.ts";

export interface PublishOptions extends EngineChoices, StagedOptions {
	/** the folder to make; must not exist, or be empty */
	out: string;
	/** publish even if results of finite numbers overflowed */
	allowNonFinite?: boolean | undefined;
	/** also take the checksums of the weights that are read, for the manifest; default true */
	inputSums?: boolean | undefined;
	onProgress?: ((progress: Progress) => void) | undefined;
	/** called with each warning as soon as it is known */
	onWarning?: ((warning: string) => void) | undefined;
}

export interface PublishReport {
	out: string;
	manifest: Manifest;
	/** what an earlier run had done of it, or null */
	resumed: Resumed | null;
	warnings: string[];
	performance: RunPerformance;
}

/** How the machine was used: nothing that changes the result. */
export interface RunPerformance {
	kernel: KernelName;
	/** beside the calling one */
	threads: number;
	/** files of the inputs that were read past the page cache */
	directInputs: number;
	/** seconds by stage, added up over all that ran side by side */
	seconds: {
		read: number;
		add: number;
		hash: number;
		write: number;
		/** threads that had nothing to do */
		wait: number;
	};
}

/**
 * Run a plan into a new folder, which appears only when all of it is written and durable: weights, index,
 * config and tokenizer files, manifest and checksums. What is not finished is kept beside it, where running again
 * may help, and gone on with then.
 *
 * @param said  warnings that are known before, for the report
 * @throws {MergeDeltaError} of the kind that says how to react; nothing is published then
 */
export async function publishPlan(
	plan: MergePlan,
	opened: OpenInputs,
	said: readonly string[],
	options: PublishOptions,
): Promise<PublishReport> {
	const engineOptions = decideEngineOptions(options);
	for (const warning of said) options.onWarning?.(warning);
	const { out, overwrite = false } = options;
	const byteLength = outputBytes(plan);
	const { locations, diskNeeds: others } = opened;
	await preflight(out, locations, { byteLength, overwrite, others });
	const place = { out, files: LOCAL_FILES, self: await thisProcess() };
	const isFetching = opened.sources.flat().some(({ ready }) => ready);
	const engine = new Engine(engineOptions, byteLength * 3, isFetching);
	try {
		const report = await makeOutput(plan, opened, place, engine, options);
		await engine.close();
		const { seconds } = report.performance;
		return {
			...report,
			warnings: [...said, ...report.warnings],
			performance: {
				...report.performance,
				seconds: { ...seconds, ...engine.crew.seconds },
			},
		};
	} finally {
		await engine.close();
	}
}

/** The same, in a place and with an engine that are given, and unchecked. */
export async function makeOutput(
	plan: MergePlan,
	opened: OpenInputs,
	place: Place,
	engine: Engine,
	options: PublishOptions,
): Promise<PublishReport> {
	const warnings: string[] = [];
	const warn = (warning: string) => {
		warnings.push(warning);
		options.onWarning?.(warning);
	};
	const sources = opened.sources.flat();
	const { signal, kernel } = engine.options;
	let seconds = { read: 0, write: 0 };
	const staged = await runStaged(
		...([plan, opened, place, engine, options] as const),
		async (ground) => {
			const { inputSums = true, onProgress } = options;
			const run = await whileComing(opened, signal, () =>
				runPlan(...([plan, opened.sources, ground, engine] as const), {
					...{ inputSums, onProgress },
				}),
			);
			seconds = run.seconds;
			if (!options.allowNonFinite) refuseOverflow(place.out, run.nonFinite);
			checkSum(plan, run.sum, place.out);
			for (const source of sources) await source.checkUnchanged();
			const manifest = await writeBeside(plan, opened, run, ground.staging);
			for (const entry of manifest.nonFinite) warn(describe(entry));
			throwIfAborted(signal, place.out);
			return manifest;
		},
	);
	staged.warnings.forEach(warn);
	const { threads } = engine.crew;
	return {
		out: place.out,
		...{ manifest: staged.manifest, resumed: staged.resumed, warnings },
		performance: {
			...{ kernel, threads },
			directInputs: sources.filter(({ isDirect }) => isDirect).length,
			seconds: { ...seconds, ...engine.crew.seconds },
		},
	};
}

/** Work while the sources come; the first failure stops the other, and is thrown once that has stopped. */
async function whileComing<T>(
	{ bring }: OpenInputs,
	signal: AbortSignal | undefined,
	work: () => Promise<T>,
): Promise<T> {
	const failures: unknown[] = [];
	const stop = new AbortController();
	const signals = signal === undefined ? [] : [signal];
	const coming = bring(AbortSignal.any([stop.signal, ...signals]));
	const come = coming.catch((error) => void failures.push(error)); // work that waits hears of it too
	const result = await work().catch((error) => {
		failures.push(error);
		stop.abort();
	});
	await come;
	if (failures.length > 0) throw failures[0];
	return result as T;
}

function refuseOverflow(
	out: string,
	nonFinite: ReadonlyMap<string, AddCounts>,
): void {
	const overflowed = [...nonFinite].filter(
		([, counts]) => counts.overflowed > 0,
	);
	if (overflowed.length === 0) return;
	throw new MismatchError({
		where: out,
		what: `results of finite numbers became infinite in ${overflowed.length === 1 ? "1 tensor" : `${overflowed.length} tensors`}, so nothing was published`,
		remedy:
			"Is it the right base? --allow-non-finite publishes all the same, --dtype with a wider type avoids it",
		details: overflowed
			.slice(0, 20)
			.map(([tensor, counts]) => `${tensor}: ${counts.overflowed} elements`),
	});
}

/** @throws {VerificationError} where the elements do not add up to what was published */
function checkSum(plan: MergePlan, sum: number | null, out: string): void {
	if (plan.sum === null || sum === null) return;
	const { accept, tolerance } = plan.sum;
	if (accept.some((each) => Math.abs(each.sum - sum) <= tolerance)) return;
	const names = [...new Set(accept.map(({ of }) => of))].join(" or ");
	throw new VerificationError({
		where: out,
		what: `the elements do not add up to what was published with ${names}, so nothing was published here`,
		expected: `${accept.map((each) => each.sum.toFixed(4)).join(" or ")} ± ${tolerance}`,
		found: sum.toFixed(4),
		remedy:
			"Is it the right base, and are all shards whole? For another model made this way give its sum with --expect-sum, or none with --expect-sum any",
	});
}

function describe({
	tensor,
	count,
	created,
}: Manifest["nonFinite"][number]): string {
	return `${tensor}: ${count} results are NaN or infinite, ${created} of them from finite numbers`;
}
