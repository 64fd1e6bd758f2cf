import { createHash } from "node:crypto";
import type { InputSide, MergePlan } from "../delta/plan.ts";
import { MismatchError, throwIfAborted, VerificationError } from "../errors.ts";
import {
	CHECKSUM_FILE_NAME,
	encodeChecksumFile,
} from "../format/checksum-file.ts";
import { INDEX_FILE_NAME } from "../format/shard-index.ts";
import type { ByteSource } from "../io/byte-source.ts";
import type { FileSource } from "../io/file-source.ts";
import type { WrittenFile } from "../io/output-file.ts";
import { Staging } from "../io/staging.ts";
import type { AddCounts, KernelName } from "../kernel/kernel.ts";
import { Engine } from "./engine.ts";
import { decideEngineOptions, type EngineChoices } from "./engine-options.ts";
import {
	createManifest,
	MANIFEST_FILE_NAME,
	type Manifest,
	type ReadFile,
} from "./manifest.ts";
import { preflight } from "./preflight.ts";
import { type Progress, runPlan } from "./run-plan.ts";

const COPY_BYTES = 2 ** 20;

/** What a plan reads, open. */
export interface OpenInputs {
	/** folders and files that no output may lie in */
	locations: readonly string[];
	/** one list of files for each of `plan.inputs` */
	sources: readonly (readonly FileSource[])[];
	/** Open one of `plan.sideFiles`. Must be closed. */
	openSideFile(from: InputSide, fileName: string): Promise<FileSource>;
	/** Say where a file came from. @throws {VerificationError} where it is not what was published there */
	withOrigin(file: ReadFile): ReadFile;
}

export interface PublishOptions extends EngineChoices {
	/** the folder to make; must not exist, or be empty */
	out: string;
	/** publish even if results of finite numbers overflowed */
	allowNonFinite?: boolean | undefined;
	/** also take the checksums of the weights that are read, for the manifest; default true */
	inputSums?: boolean | undefined;
	/** called with all files but manifest and checksums before they are published; it may throw */
	checkOutputs?: ((outputs: readonly WrittenFile[]) => void) | undefined;
	onProgress?: ((progress: Progress) => void) | undefined;
	/** called with each warning as soon as it is known */
	onWarning?: ((warning: string) => void) | undefined;
}

export interface PublishReport {
	out: string;
	manifest: Manifest;
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
 * config and tokenizer files, manifest and checksums.
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
	const warnings: string[] = [];
	const warn = (warning: string) => {
		warnings.push(warning);
		options.onWarning?.(warning);
	};
	const engineOptions = decideEngineOptions(options);
	said.forEach(warn);
	await preflight(options.out, opened.locations, outputBytes(plan));
	const staging = await Staging.open(options.out);
	const engine = new Engine(engineOptions, outputBytes(plan) * 3);
	try {
		const written = await write(plan, opened, staging, engine, options);
		for (const entry of written.manifest.nonFinite) warn(describe(entry));
		throwIfAborted(options.signal, options.out);
		await staging.publish();
		await engine.close();
		return {
			...{ out: options.out, manifest: written.manifest, warnings },
			performance: {
				kernel: engineOptions.kernel,
				threads: engine.crew.threads,
				directInputs: written.directInputs,
				seconds: { ...written.seconds, ...engine.crew.seconds },
			},
		};
	} finally {
		await engine.close();
		await staging.discard();
	}
}

/** Write all files of the output into the staging folder. */
async function write(
	plan: MergePlan,
	{ sources, openSideFile, withOrigin }: OpenInputs,
	staging: Staging,
	engine: Engine,
	options: PublishOptions,
) {
	let directInputs = 0;
	for (const source of sources.flat())
		if (await source.chooseReading(engine.options.directIo)) directInputs++;
	const run = await runPlan(...([plan, sources, staging, engine] as const), {
		inputSums: options.inputSums ?? true,
		onProgress: options.onProgress,
	});
	const { nonFinite, unrestored, seconds } = run;
	if (!options.allowNonFinite) refuseOverflow(options.out, nonFinite);
	checkSum(plan, run.sum, options.out);
	for (const source of sources.flat()) await source.checkUnchanged();

	const read = listInputs(plan, run.inputSums);
	const outputs = [...run.shards];
	if (plan.index !== null)
		outputs.push(await writeText(staging, INDEX_FILE_NAME, plan.index));
	for (const sideFile of plan.sideFiles) {
		const { from, fileName } = sideFile;
		const source = await openSideFile(from, fileName);
		const copied = await copySideFile(source, sideFile, staging);
		read.push({ from, ...copied.read });
		outputs.push(copied.written);
	}
	options.checkOutputs?.(outputs);
	const inputs = read.map(withOrigin);
	const manifest = createManifest(
		...([plan, inputs, outputs, nonFinite, unrestored] as const),
	);
	const text = `${JSON.stringify(manifest, null, 2)}\n`;
	outputs.push(await writeText(staging, MANIFEST_FILE_NAME, text));
	const sums = encodeChecksumFile(
		outputs.map(({ fileName, sha256 }) => ({ name: fileName, sha256 })),
	);
	await writeText(staging, CHECKSUM_FILE_NAME, sums);
	return { manifest, directInputs, seconds };
}

/** The weight files that were read, with the checksums of all their bytes where they were taken. */
function listInputs(
	{ inputs }: MergePlan,
	sums: readonly (readonly string[])[] | null,
): ReadFile[] {
	return inputs.flatMap(({ side, shards }, input) =>
		shards.map((file, shard) => ({
			...{ from: side, ...file },
			sha256: sums?.[input]?.[shard] ?? null,
		})),
	);
}

async function writeText(
	staging: Staging,
	fileName: string,
	text: string,
): Promise<WrittenFile> {
	return staging.write(fileName, [Buffer.from(text)]);
}

/** Copy config or tokenizer as bytes, or with the one number that the plan changes, and close it. */
async function copySideFile(
	source: FileSource,
	{ fileName, vocabSize }: MergePlan["sideFiles"][number],
	staging: Staging,
): Promise<{ read: WrittenFile; written: WrittenFile }> {
	try {
		if (vocabSize === null) {
			const written = await staging.write(fileName, piecesOf(source));
			await source.checkUnchanged();
			return { read: written, written };
		}
		const bytes = new Uint8Array(source.byteLength);
		await source.read(0, bytes);
		await source.checkUnchanged();
		const sha256 = createHash("sha256").update(bytes).digest("hex");
		const text = withVocabSize(Buffer.from(bytes).toString("utf8"), vocabSize);
		return {
			read: { fileName, byteLength: bytes.length, sha256 },
			written: await writeText(staging, fileName, text),
		};
	} finally {
		await source.close();
	}
}

/** All of a config's text stays but the number, as if a person had changed it. */
function withVocabSize(text: string, vocabSize: number): string {
	return text.replace(/("vocab_size"\s*:\s*)\d+/, `$1${vocabSize}`);
}

async function* piecesOf(source: ByteSource): AsyncGenerator<Uint8Array> {
	const buffer = new Uint8Array(Math.min(COPY_BYTES, source.byteLength));
	for (let at = 0; at < source.byteLength; at += buffer.length) {
		const bytes = buffer.subarray(0, source.byteLength - at);
		await source.read(at, bytes);
		yield bytes;
	}
}

function outputBytes({ shards }: MergePlan): number {
	return shards.reduce((sum, { byteLength }) => sum + byteLength, 0);
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
