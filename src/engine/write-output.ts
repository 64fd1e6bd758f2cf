import { createHash } from "node:crypto";
import type { InputSide, MergePlan } from "../delta/plan.ts";
import {
	CHECKSUM_FILE_NAME,
	encodeChecksumFile,
} from "../format/checksum-file.ts";
import { INDEX_FILE_NAME } from "../format/shard-index.ts";
import type { ByteSource } from "../io/byte-source.ts";
import type { DiskNeed } from "../io/disk-space.ts";
import type { FileSource } from "../io/file-source.ts";
import type { WrittenFile } from "../io/output-file.ts";
import type { Staging } from "../io/staging.ts";
import {
	createManifest,
	MANIFEST_FILE_NAME,
	type Manifest,
	type ReadFile,
} from "./manifest.ts";
import type { RunResult } from "./run-plan.ts";

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
	/** what {@link bring} will write, beside the output */
	diskNeeds: readonly DiskNeed[];
	/**
	 * Bring the sources that are elsewhere here: each is ready as soon as it is, and those that never will be are told
	 * why.
	 */
	bring(signal: AbortSignal): Promise<void>;
}

/** The names of all files of a plan's output. */
export function outputNames(plan: MergePlan): Set<string> {
	return new Set([
		...plan.shards.map(({ fileName }) => fileName),
		...(plan.index === null ? [] : [INDEX_FILE_NAME]),
		...plan.sideFiles.map(({ fileName }) => fileName),
		...[MANIFEST_FILE_NAME, CHECKSUM_FILE_NAME],
	]);
}

/** Write what stands beside the shards: index, config and tokenizer, manifest, checksums. */
export async function writeBeside(
	plan: MergePlan,
	{ openSideFile, withOrigin }: OpenInputs,
	run: RunResult,
	staging: Staging,
): Promise<Manifest> {
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
	const inputs = read.map(withOrigin);
	const manifest = createManifest(
		...([plan, inputs, outputs, run.nonFinite, run.unrestored] as const),
	);
	const text = `${JSON.stringify(manifest, null, 2)}\n`;
	outputs.push(await writeText(staging, MANIFEST_FILE_NAME, text));
	const sums = encodeChecksumFile(
		outputs.map(({ fileName, sha256 }) => ({ name: fileName, sha256 })),
	);
	await writeText(staging, CHECKSUM_FILE_NAME, sums);
	return manifest;
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
