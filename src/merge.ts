import type { Checkpoint } from "./checkpoint/checkpoint.ts";
import type { MergePlan } from "./delta/plan.ts";
import {
	createManifest,
	MANIFEST_FILE_NAME,
	type Manifest,
	type ReadFile,
} from "./engine/manifest.ts";
import { preflight } from "./engine/preflight.ts";
import { type Progress, runPlan } from "./engine/run-plan.ts";
import { MismatchError } from "./errors.ts";
import {
	CHECKSUM_FILE_NAME,
	encodeChecksumFile,
} from "./format/checksum-file.ts";
import { INDEX_FILE_NAME } from "./format/shard-index.ts";
import { DigestingSource } from "./io/digesting-source.ts";
import type { WrittenFile } from "./io/output-file.ts";
import { Staging } from "./io/staging.ts";
import { jsKernel } from "./kernel/js.ts";
import type { AddCounts } from "./kernel/kernel.ts";
import { type PlanInputs, withPlan } from "./plan.ts";

const SLICE_BYTES = 4 * 2 ** 20;
const COPY_BYTES = 2 ** 20;

export interface MergeOptions extends PlanInputs {
	/** the folder to make; must not exist, or be empty */
	out: string;
	/** publish even if sums of finite numbers overflowed */
	allowNonFinite?: boolean | undefined;
	signal?: AbortSignal | undefined;
	onProgress?: ((progress: Progress) => void) | undefined;
	/** called with each warning as soon as it is known */
	onWarning?: ((warning: string) => void) | undefined;
}

export interface MergeReport {
	out: string;
	manifest: Manifest;
	warnings: string[];
}

/**
 * Merge a base and a delta into a new folder, which appears only when all of it is written and durable.
 *
 * @throws {MergeDeltaError} of the kind that says how to react; nothing is published then
 */
export async function merge(options: MergeOptions): Promise<MergeReport> {
	const warnings: string[] = [];
	const warn = (warning: string) => {
		warnings.push(warning);
		options.onWarning?.(warning);
	};
	return withPlan(options, async (report, { base, delta }) => {
		report.warnings.forEach(warn);
		const { plan } = report;
		const inputs = [base.location, delta.location];
		await preflight(options.out, inputs, outputBytes(plan));
		const staging = await Staging.open(options.out);
		try {
			const manifest = await write(plan, [base, delta], staging, options);
			for (const entry of manifest.nonFinite) warn(describe(entry));
			await staging.publish();
			return { out: options.out, manifest, warnings };
		} finally {
			await staging.discard();
		}
	});
}

/** Write all files of the output into the staging folder. */
async function write(
	plan: MergePlan,
	checkpoints: readonly [Checkpoint, Checkpoint],
	staging: Staging,
	options: MergeOptions,
): Promise<Manifest> {
	const sources = checkpoints.map(({ shards }) =>
		shards.map(({ source }) => new DigestingSource(source)),
	);
	const { shards, nonFinite } = await runPlan(plan, sources, staging, {
		kernel: jsKernel,
		sliceBytes: SLICE_BYTES,
		signal: options.signal,
		onProgress: options.onProgress,
	});
	if (!options.allowNonFinite) refuseOverflow(options.out, nonFinite);
	const inputs = await digestInputs(plan, sources, options.signal);
	for (const checkpoint of checkpoints)
		for (const { source } of checkpoint.shards) await source.checkUnchanged();

	const outputs = [...shards];
	if (plan.index !== null)
		outputs.push(await writeText(staging, INDEX_FILE_NAME, plan.index));
	for (const { fileName, from } of plan.sideFiles) {
		const checkpoint = checkpoints[from === "base" ? 0 : 1];
		const file = await copySideFile(checkpoint, fileName, staging);
		inputs.push({ from, ...file });
		outputs.push(file);
	}
	const manifest = createManifest(plan, inputs, outputs, nonFinite);
	const text = `${JSON.stringify(manifest, null, 2)}\n`;
	outputs.push(await writeText(staging, MANIFEST_FILE_NAME, text));
	const sums = encodeChecksumFile(
		outputs.map(({ fileName, sha256 }) => ({ name: fileName, sha256 })),
	);
	await writeText(staging, CHECKSUM_FILE_NAME, sums);
	return manifest;
}

/** The weight files that were read, with the checksums of all their bytes. */
async function digestInputs(
	plan: MergePlan,
	sources: readonly (readonly DigestingSource[])[],
	signal: AbortSignal | undefined,
): Promise<ReadFile[]> {
	const files: ReadFile[] = [];
	for (const [input, opened] of sources.entries())
		for (const [shard, source] of opened.entries()) {
			const { side, shards } = plan.inputs[input] ?? {};
			const file = shards?.[shard];
			if (!side || !file) throw new RangeError(`no shard ${shard} of ${input}`);
			const sha256 = await source.digest(signal);
			files.push({ from: side, ...file, sha256 });
		}
	return files;
}

async function writeText(
	staging: Staging,
	fileName: string,
	text: string,
): Promise<WrittenFile> {
	return staging.write(fileName, (file) => file.append(Buffer.from(text)));
}

/** Copy config or tokenizer as bytes. */
async function copySideFile(
	checkpoint: Checkpoint,
	fileName: string,
	staging: Staging,
): Promise<WrittenFile> {
	const source = await checkpoint.openSideFile(fileName);
	try {
		return await staging.write(fileName, async (file) => {
			const buffer = new Uint8Array(COPY_BYTES);
			while (file.byteLength < source.byteLength) {
				const bytes = buffer.subarray(0, source.byteLength - file.byteLength);
				await source.read(file.byteLength, bytes);
				await file.append(bytes);
			}
			await source.checkUnchanged();
		});
	} finally {
		await source.close();
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
		what: `sums of finite numbers became infinite in ${overflowed.length === 1 ? "1 tensor" : `${overflowed.length} tensors`}, so nothing was published`,
		remedy:
			"Is it the right base? --allow-non-finite publishes all the same, --dtype with a wider type avoids it",
		details: overflowed
			.slice(0, 20)
			.map(([tensor, counts]) => `${tensor}: ${counts.overflowed} elements`),
	});
}

function describe({
	tensor,
	count,
	created,
}: Manifest["nonFinite"][number]): string {
	return `${tensor}: ${count} results are NaN or infinite, ${created} of them from finite numbers`;
}
