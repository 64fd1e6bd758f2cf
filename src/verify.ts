import { stat } from "node:fs/promises";
import path from "node:path";
import { type Brought, bringInputs } from "./bring-inputs.ts";
import { listFiles } from "./checkpoint/list-files.ts";
import { neededFiles } from "./checkpoint/needed-files.ts";
import { openCheckpoint } from "./checkpoint/open-checkpoint.ts";
import type { ReadingChoices } from "./engine/engine.ts";
import { MergeDeltaError, UsageError } from "./errors.ts";
import {
	type Expectation,
	findContradictions,
	isSameFile,
	ownExpectation,
	publishedExpectation,
	readExpectation,
} from "./expectation.ts";
import {
	CHECKSUM_ALGORITHMS,
	CHECKSUM_FILE_NAME,
	type ChecksumAlgorithm,
} from "./format/checksum-file.ts";
import { INDEX_FILE_NAME } from "./format/shard-index.ts";
import type { FetchChoices } from "./locate.ts";
import {
	readTensorList,
	type VerifiedTensor,
	verifyTensors,
} from "./tensor-list.ts";
import { type VerifiedFile, verifyFiles } from "./verify-files.ts";

export interface VerifyOptions extends ReadingChoices, FetchChoices {
	/**
	 * a file of checksums, or the manifest of a merge, that lies elsewhere; default: the folder's own
	 * checksums, for a repository those that the Hub tells
	 */
	expect?: string | undefined;
	/** of the checksums; default SHA-256 */
	algorithm?: ChecksumAlgorithm | undefined;
	/** a list of tensors that `inspect` made with `digests`; without `expect`, files are not hashed then */
	tensors?: string | undefined;
	/** accept what is not listed */
	allowExtra?: boolean | undefined;
	/** called with each file, in the order of the list */
	onFile?: ((file: VerifiedFile) => void) | undefined;
	/** the same with each tensor */
	onTensor?: ((tensor: VerifiedTensor) => void) | undefined;
}

export interface VerifyReport {
	/** what was verified, on this machine */
	folder: string;
	/** true only if everything was hashed and nothing at all is wrong */
	ok: boolean;
	/** of what the files or tensors were compared with: file or repository */
	expectedBy: string[];
	files: VerifiedFile[];
	tensors: VerifiedTensor[];
	/** what is wrong beside the bytes of files and tensors, one sentence each */
	problems: string[];
	/** whether index, shards and headers agree; null where there are no safetensors files */
	structureAgrees: boolean | null;
	/** signatures, which are files like any other here: whose they are, and of what, was not checked */
	uncheckedSignatures: string[];
	warnings: string[];
}

const SIGNATURE = /\.(sig|asc|minisig|sigstore(\.json)?)$/i;

/**
 * Verify a model: every file against its checksum as `sha256sum -c --strict` does, no file that is not
 * listed, and index, shards, headers and manifest against each other.
 *
 * @param target  a folder, or a repository of the Hub, which is brought into its cache; with `tensors` also a
 *   weight file
 * @throws {VerificationError} where there is nothing to verify against
 * @throws {FormatError} where a list is unsafe, malformed, or of another algorithm or version
 */
export async function verify(
	target: string,
	options: VerifyOptions = {},
): Promise<VerifyReport> {
	const { algorithm, tensors } = options;
	const asked =
		options.expect === undefined
			? null
			: await readExpectation(options.expect, algorithm);
	const list = tensors === undefined ? null : await readTensorList(tensors);
	const brought = await locate(target, asked, options);
	const report: VerifyReport = {
		...{ folder: brought.path, ok: false, expectedBy: [] },
		...{ files: [], tensors: [], problems: [], structureAgrees: null },
		...{ uncheckedSignatures: [], warnings: [] },
	};
	if (list === null || asked !== null)
		await verifyFolder(brought, asked, options, report);
	if (list !== null) {
		const found = await verifyTensors(brought.path, list, options);
		report.expectedBy.push(list.from);
		report.tensors = found.tensors;
		report.problems.push(...found.problems);
		report.warnings.push(...found.warnings);
	}
	const all = [...report.files, ...report.tensors];
	report.ok =
		report.problems.length === 0 &&
		all.length > 0 &&
		all.every(({ status }) => status === "OK");
	return report;
}

/** Of a repository, bring what is listed, and what would be used whether it is listed or not. */
async function locate(
	target: string,
	asked: Expectation | null,
	options: VerifyOptions,
): Promise<Brought> {
	const listed = new Set(asked?.entries.map(({ name }) => name));
	const [brought] = await bringInputs([target], options, (paths) => {
		const needed = new Set(neededFiles(paths));
		return paths.filter((each) => needed.has(each) || listed.has(each));
	});
	return brought as Brought;
}

/** All that files, as files, can tell. */
async function verifyFolder(
	brought: Brought,
	asked: Expectation | null,
	options: VerifyOptions,
	report: VerifyReport,
): Promise<void> {
	const { path: folder, origin } = brought;
	const present = await filesOf(brought);
	const expected =
		asked ??
		(origin !== null
			? publishedExpectation(origin)
			: await ownExpectation(folder, options.algorithm));
	const contradictions = await findContradictions(folder, present, expected);
	report.expectedBy.push(expected.from);
	report.files = await verifyFiles(folder, expected, options, options.onFile);
	report.uncheckedSignatures = present.filter((name) => SIGNATURE.test(name));
	report.warnings.push(...expected.warnings);
	report.problems.push(...expected.problems, ...contradictions);
	if (!options.allowExtra && (asked !== null || origin === null))
		report.problems.push(...(await unlisted(folder, present, expected)));
	await verifyStructure(folder, present, report);
}

async function filesOf({ path: folder, origin }: Brought): Promise<string[]> {
	if (origin !== null) return origin.files.map((file) => file.path);
	const stats = await stat(folder).catch(() => null);
	if (stats?.isDirectory()) return listFiles(folder);
	throw new UsageError({
		where: folder,
		what: stats === null ? "no such folder" : "not a folder",
		remedy:
			"Name the folder of a model; one weight file can be verified by --tensors",
	});
}

/** What lies in the folder and is neither listed nor the list. */
async function unlisted(
	folder: string,
	present: readonly string[],
	{ from, algorithm, entries }: Expectation,
): Promise<string[]> {
	const listed = new Set(entries.map(({ name }) => name));
	const lists = [CHECKSUM_FILE_NAME, CHECKSUM_ALGORITHMS[algorithm].fileName];
	const problems: string[] = [];
	for (const name of present) {
		if (listed.has(name) || lists.includes(name)) continue;
		if (await isSameFile(path.join(folder, name), from)) continue;
		problems.push(`${name}: not in ${path.basename(from)}`);
	}
	return problems;
}

/** A folder without safetensors weights has no structure that is known here. */
async function verifyStructure(
	folder: string,
	present: readonly string[],
	report: VerifyReport,
): Promise<void> {
	const isWeights = (name: string) =>
		/^[^/]+\.safetensors$/.test(name) || name === INDEX_FILE_NAME;
	if (!present.some(isWeights)) return;
	try {
		const checkpoint = await openCheckpoint(folder);
		await checkpoint.close();
		report.structureAgrees = true;
		report.warnings.push(...checkpoint.warnings);
	} catch (error) {
		if (!(error instanceof MergeDeltaError)) throw error;
		report.structureAgrees = false;
		report.problems.push(error.message);
	}
}
