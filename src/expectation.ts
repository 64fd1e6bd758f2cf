import { createHash } from "node:crypto";
import { realpath } from "node:fs/promises";
import path from "node:path";
import { MANIFEST_FILE_NAME } from "./engine/manifest.ts";
import { NewerManifest, parseManifestOutputs } from "./engine/read-manifest.ts";
import { FormatError, UsageError, VerificationError } from "./errors.ts";
import {
	CHECKSUM_ALGORITHMS,
	CHECKSUM_FILE_NAME,
	type ChecksumAlgorithm,
	type ChecksumEntry,
	parseChecksumFile,
} from "./format/checksum-file.ts";
import type { FetchedRepository } from "./hub/fetch-repository.ts";
import type { WrittenFile } from "./io/output-file.ts";
import { readWhole } from "./io/read-whole.ts";
import { systemErrorCode } from "./io/system-error.ts";

/** More than a million files have. */
const MAX_LIST_BYTES = 2 ** 27;
const OPEN_BRACE = 0x7b;

/** What the files of a model must be, and who says so. */
export interface Expectation {
	/** the file it comes from, or the repository */
	from: string;
	algorithm: ChecksumAlgorithm;
	entries: readonly ChecksumEntry[];
	/** what is wrong with the list itself, one sentence each */
	problems: readonly string[];
	/** what a person should know of it */
	warnings: readonly string[];
}

/**
 * Read what a model must be from a file that lies anywhere: checksums, or the manifest of a merge.
 *
 * @throws {UsageError} where there is no such file
 * @throws {FormatError} where it is malformed, unsafe, or of another algorithm
 * @throws {VerificationError} where it names no file
 */
export async function readExpectation(
	file: string,
	algorithm: ChecksumAlgorithm = "sha256",
): Promise<Expectation> {
	const bytes = await readList(file);
	if (bytes.find((byte) => byte > 0x20) !== OPEN_BRACE)
		return expectationOfSums(bytes, file, algorithm);
	if (algorithm !== "sha256")
		throw new UsageError({
			where: "--algorithm",
			what: `${file} is a manifest, which tells SHA-256 alone`,
			remedy: "Leave it out",
		});
	const entries = parseManifestOutputs(bytes, file);
	// A copy of the manifest may lie in the folder: this one, then, and no other.
	const checksum = createHash("sha256").update(bytes).digest("hex");
	entries.push({ name: MANIFEST_FILE_NAME, checksum });
	return { from: file, algorithm, entries, problems: [], warnings: [] };
}

/**
 * The same where nothing must be wrong with the list, because much work depends on it.
 *
 * @throws {VerificationError} for malformed lines too
 */
export async function readSoundExpectation(file: string): Promise<Expectation> {
	const expectation = await readExpectation(file);
	const [problem] = expectation.problems;
	if (problem === undefined) return expectation;
	throw new VerificationError({
		where: file,
		what: `a list that cannot be trusted: ${problem}`,
		remedy: "Get the file again",
	});
}

/**
 * What a folder says of itself.
 *
 * @throws as `readExpectation`; {VerificationError} too where the folder holds no checksums
 */
export async function ownExpectation(
	folder: string,
	algorithm: ChecksumAlgorithm = "sha256",
): Promise<Expectation> {
	const { fileName: name } = CHECKSUM_ALGORITHMS[algorithm];
	const file = path.join(folder, name);
	const bytes = await readWhole(file, MAX_LIST_BYTES).catch((error) => {
		if (systemErrorCode(error.cause) !== "ENOENT") throw error;
		throw new VerificationError({
			where: folder,
			what: `no ${name} in it, so nothing was verified`,
			remedy: "Name a file of checksums with --expect",
		});
	});
	return expectationOfSums(bytes, file, algorithm);
}

/** What the Hub says of the files that were fetched from it. */
export function publishedExpectation({
	repository,
	commit,
	files,
}: FetchedRepository): Expectation {
	const from = `${repository}@${commit}`;
	const entries: ChecksumEntry[] = [];
	const unknown: string[] = [];
	for (const { path: name, sha256 } of files)
		if (sha256 === null) unknown.push(name);
		else entries.push({ name, checksum: sha256 });
	const warnings =
		unknown.length === 0
			? []
			: [
					`${from}: the Hub tells no SHA-256 of ${unknown.join(", ")}; only --expect can verify them`,
				];
	return nonEmpty({
		...{ from, algorithm: "sha256", entries, problems: [], warnings },
	});
}

function expectationOfSums(
	bytes: Uint8Array,
	file: string,
	algorithm: ChecksumAlgorithm,
): Expectation {
	const { title } = CHECKSUM_ALGORITHMS[algorithm];
	const warnings =
		algorithm === "md5"
			? [
					`${file}: ${title} shows damage, not forgery: other bytes with the same checksum can be made`,
				]
			: [];
	const sums = parseSums(bytes, file, algorithm);
	return nonEmpty({ ...sums, from: file, algorithm, warnings });
}

/**
 * The checksums that a file lists, by plain names, and what is wrong with the list.
 *
 * @throws {FormatError} where it is unsafe, or of another algorithm
 */
export function parseSums(
	bytes: Uint8Array,
	file: string,
	algorithm: ChecksumAlgorithm = "sha256",
): Pick<Expectation, "entries" | "problems"> {
	const text = Buffer.from(bytes).toString("utf8");
	const parsed = parseChecksumFile(text, file, algorithm);
	return {
		entries: parsed.entries.map(({ name, checksum }) => ({
			name: path.posix.normalize(name),
			checksum,
		})),
		problems: parsed.malformedLines.map(
			(line) => `${path.basename(file)}, line ${line}: not a checksum`,
		),
	};
}

function nonEmpty(expectation: Expectation): Expectation {
	if (expectation.entries.length > 0) return expectation;
	throw new VerificationError({
		where: expectation.from,
		what: "no checksum in it, so nothing was verified",
		remedy: "Get the file again, or merge again",
	});
}

/**
 * All bytes of a list that lies anywhere.
 *
 * @throws {UsageError} where there is no such file
 * @throws {FormatError} where it is no regular file, or too long
 */
export async function readList(file: string): Promise<Uint8Array> {
	return readWhole(file, MAX_LIST_BYTES).catch((error) => {
		const code = systemErrorCode(error.cause) ?? "";
		if (!["ENOENT", "ENOTDIR", "ENAMETOOLONG"].includes(code)) throw error;
		throw new UsageError({
			where: file,
			what: "no such file",
			remedy: "Name a file of checksums, or a merge-delta.json",
		});
	});
}

/**
 * Compare what a folder says of itself with what is expected of it.
 *
 * @param fileNames  of what lies in the folder
 * @returns one sentence for each record that contradicts
 * @throws {FormatError} where its manifest is of a newer version
 */
export async function findContradictions(
	folder: string,
	fileNames: readonly string[],
	expected: Expectation,
): Promise<string[]> {
	if (expected.algorithm !== "sha256") return [];
	const byName = new Map(expected.entries.map((e) => [e.name, e.checksum]));
	const problems: string[] = [];
	for (const name of [MANIFEST_FILE_NAME, CHECKSUM_FILE_NAME]) {
		if (!fileNames.includes(name)) continue;
		const file = path.join(folder, name);
		if (await isSameFile(file, expected.from)) continue;
		const bytes = await readWhole(file, MAX_LIST_BYTES).catch(() => null);
		if (bytes === null) continue; // told where it is hashed
		let said: readonly ChecksumEntry[];
		try {
			said =
				name === MANIFEST_FILE_NAME
					? parseManifestOutputs(bytes, file)
					: parseSums(bytes, file).entries;
		} catch (error) {
			if (!(error instanceof FormatError) || error instanceof NewerManifest)
				throw error;
			problems.push(error.message);
			continue;
		}
		for (const entry of said)
			if (byName.get(entry.name) !== entry.checksum)
				problems.push(
					`${name} says otherwise of ${entry.name} than ${expected.from}`,
				);
	}
	return problems;
}

export async function isSameFile(a: string, b: string): Promise<boolean> {
	const [x, y] = await Promise.all(
		[a, b].map((file) => realpath(file).catch(() => null)),
	);
	return x !== null && x === y;
}

/**
 * Compare what a merge has written with what is expected of it. Nothing is expected of its manifest, which
 * tells the version of the tool.
 *
 * @throws {VerificationError} that names every file that differs
 */
export function checkOutputs(
	outputs: readonly WrittenFile[],
	{ entries, from }: Expectation,
	out: string,
): void {
	const expected = new Map(entries.map((e) => [e.name, e.checksum]));
	expected.delete(MANIFEST_FILE_NAME);
	const differences: string[] = [];
	for (const { fileName, sha256 } of outputs) {
		const checksum = expected.get(fileName);
		expected.delete(fileName);
		if (checksum === undefined) differences.push(`${fileName}: not expected`);
		else if (checksum !== sha256)
			differences.push(`${fileName}: expected ${checksum}, found ${sha256}`);
	}
	for (const name of expected.keys())
		differences.push(`${name}: expected, and not made`);
	if (differences.length > 0)
		throw new VerificationError({
			where: out,
			what: `not what ${from} expects, so this run has published nothing`,
			found:
				differences.length === 1
					? "1 file that differs"
					: `${differences.length} files that differ`,
			remedy: "Are both inputs the right ones, and the convention?",
			details: differences,
		});
}
