import { readdir, readFile, stat } from "node:fs/promises";
import path from "node:path";
import { openCheckpoint } from "./checkpoint/open-checkpoint.ts";
import { digestFile } from "./engine/digest-file.ts";
import { Engine } from "./engine/engine.ts";
import {
	decideEngineOptions,
	type EngineChoices,
} from "./engine/engine-options.ts";
import {
	FormatError,
	LocalIoError,
	MergeDeltaError,
	UsageError,
	VerificationError,
} from "./errors.ts";
import {
	CHECKSUM_FILE_NAME,
	parseChecksumFile,
} from "./format/checksum-file.ts";
import { INDEX_FILE_NAME } from "./format/shard-index.ts";
import { openFileSource } from "./io/file-source.ts";
import { listFolder } from "./io/local-path.ts";
import { systemErrorCode, toLocalIoError } from "./io/system-error.ts";

export interface VerifyOptions extends Omit<EngineChoices, "kernel"> {
	/** accept files that the checksum file does not list */
	allowExtra?: boolean | undefined;
	onFile?: ((file: VerifiedFile) => void) | undefined;
}

export interface VerifiedFile {
	fileName: string;
	/** `FAILED`: the bytes differ; `MISSING`: not there; `UNREADABLE`: there, but not to be read */
	status: "OK" | "FAILED" | "MISSING" | "UNREADABLE";
	expected: string;
	found: string | null;
}

export interface VerifyReport {
	folder: string;
	/** true only if every file was hashed and nothing at all is wrong */
	ok: boolean;
	files: VerifiedFile[];
	/** what is wrong beside the files' bytes, one sentence each */
	problems: string[];
	warnings: readonly string[];
}

/**
 * Verify a merged model: every file against SHA256SUMS as `sha256sum -c --strict` does, no file that is
 * not listed, and index, shards and headers against each other.
 *
 * @throws {VerificationError} where there is nothing to verify against
 * @throws {FormatError} where the checksum file is unsafe or of another algorithm
 */
export async function verify(
	folder: string,
	options: VerifyOptions = {},
): Promise<VerifyReport> {
	const { entries, malformedLines } = await readChecksumFile(folder);
	const problems = malformedLines.map(
		(line) => `${CHECKSUM_FILE_NAME}, line ${line}: not a checksum`,
	);
	if (entries.length === 0)
		throw new VerificationError({
			where: path.join(folder, CHECKSUM_FILE_NAME),
			what: "no checksum in it, so nothing was verified",
			remedy: "Get the file again, or merge again",
		});
	const files = await verifyFiles(folder, entries, options);
	if (!options.allowExtra)
		problems.push(
			...(await unlistedFiles(folder, new Set(entries.map((e) => e.name)))),
		);
	const structure = await verifyStructure(folder);
	problems.push(...structure.problems);
	const ok =
		problems.length === 0 && files.every(({ status }) => status === "OK");
	return { folder, ok, files, problems, warnings: structure.warnings };
}

async function readChecksumFile(folder: string) {
	const file = path.join(folder, CHECKSUM_FILE_NAME);
	const text = await readFile(file, "utf8").catch(async (error) => {
		const code = systemErrorCode(error) ?? "";
		if (code !== "ENOENT" && code !== "ENOTDIR")
			throw toLocalIoError(error, file, "opening");
		await readdir(folder).catch(() => {
			throw new UsageError({
				where: folder,
				what: "no such folder",
				remedy: "Name the folder of a merged model",
			});
		});
		throw new VerificationError({
			where: folder,
			what: `no ${CHECKSUM_FILE_NAME} in it, so nothing was verified`,
			remedy: "Only a folder with checksums can be verified",
		});
	});
	return parseChecksumFile(text, file);
}

/** Hash a few files at once, and tell of each in the order of the list. */
export async function verifyFiles(
	folder: string,
	entries: readonly { name: string; sha256: string }[],
	options: VerifyOptions,
): Promise<VerifiedFile[]> {
	const engine = new Engine(
		decideEngineOptions({ ...options, kernel: "js" }),
		await totalBytes(folder, entries),
	);
	const files: VerifiedFile[] = [];
	const remaining = entries.entries();
	let told = 0;
	const verifyInTurn = async () => {
		for (const [i, { name, sha256 }] of remaining) {
			files[i] = await verifyFile(engine, folder, name, sha256);
			for (let file = files[told]; file; file = files[++told])
				options.onFile?.(file);
		}
	};
	try {
		const atOnce = Math.max(engine.crew.threads, 1);
		const turns = Array.from({ length: atOnce }, verifyInTurn);
		await Promise.allSettled(turns);
		await Promise.all(turns);
		return files;
	} finally {
		await engine.close();
	}
}

async function totalBytes(
	folder: string,
	entries: readonly { name: string }[],
): Promise<number> {
	let total = 0;
	for (const { name } of entries)
		total += await stat(path.join(folder, name)).then(
			({ size }) => size,
			() => 0, // told when it is opened
		);
	return total;
}

async function verifyFile(
	engine: Engine,
	folder: string,
	fileName: string,
	expected: string,
): Promise<VerifiedFile> {
	try {
		const found = await hashFile(engine, path.join(folder, fileName));
		const status = found === expected ? "OK" : "FAILED";
		return { fileName, status, expected, found };
	} catch (error) {
		if (!(error instanceof LocalIoError || error instanceof FormatError))
			throw error;
		const missing = systemErrorCode(error.cause) === "ENOENT";
		const status = missing ? "MISSING" : "UNREADABLE";
		return { fileName, status, expected, found: null };
	}
}

async function hashFile(engine: Engine, file: string): Promise<string> {
	const source = await openFileSource(file);
	try {
		await source.chooseReading(engine.options.directIo);
		const sha256 = await digestFile(engine, source, file);
		await source.checkUnchanged();
		return sha256;
	} finally {
		await source.close();
	}
}

async function unlistedFiles(
	folder: string,
	listed: ReadonlySet<string>,
): Promise<string[]> {
	const names = await listFolder(folder);
	return names
		.filter((name) => name !== CHECKSUM_FILE_NAME)
		.filter((name) => !listed.has(name) && !listed.has(`./${name}`))
		.sort()
		.map((name) => `${name}: not in ${CHECKSUM_FILE_NAME}`);
}

/** A folder without safetensors weights has no structure that is known here. */
async function verifyStructure(
	folder: string,
): Promise<{ problems: string[]; warnings: readonly string[] }> {
	const names = await listFolder(folder);
	if (!names.some((n) => n.endsWith(".safetensors") || n === INDEX_FILE_NAME))
		return { problems: [], warnings: [] };
	try {
		const checkpoint = await openCheckpoint(folder);
		await checkpoint.close();
		return { problems: [], warnings: checkpoint.warnings };
	} catch (error) {
		if (!(error instanceof MergeDeltaError)) throw error;
		return { problems: [error.message], warnings: [] };
	}
}
