import { stat } from "node:fs/promises";
import path from "node:path";
import { digestFile } from "./engine/digest-stretch.ts";
import {
	type Engine,
	type ReadingChoices,
	withReadingEngine,
} from "./engine/engine.ts";
import { inTurn } from "./engine/in-turn.ts";
import { FormatError, LocalIoError } from "./errors.ts";
import type { Expectation } from "./expectation.ts";
import type {
	ChecksumAlgorithm,
	ChecksumEntry,
} from "./format/checksum-file.ts";
import { openFileSource } from "./io/file-source.ts";
import { systemErrorCode } from "./io/system-error.ts";

/** `FAILED`: other bytes; `MISSING`: not there; `UNREADABLE`: there, but not to be read */
type VerifiedStatus = "OK" | "FAILED" | "MISSING" | "UNREADABLE";

export interface VerifiedFile {
	fileName: string;
	status: VerifiedStatus;
	expected: string;
	found: string | null;
}

/**
 * Hash the files of a list, a few at once, and compare them with it.
 *
 * @param onFile  called with each, in the order of the list
 */
export async function verifyFiles(
	folder: string,
	{ entries, algorithm }: Pick<Expectation, "entries" | "algorithm">,
	choices: ReadingChoices,
	onFile: ((file: VerifiedFile) => void) | undefined,
): Promise<VerifiedFile[]> {
	const bytes = await totalBytes(folder, entries);
	return withReadingEngine(choices, bytes, (engine) =>
		inTurn(
			entries,
			engine.crew.threads,
			(entry) => verifyFile(engine, folder, entry, algorithm),
			onFile,
		),
	);
}

async function totalBytes(
	folder: string,
	entries: readonly ChecksumEntry[],
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
	{ name: fileName, checksum: expected }: ChecksumEntry,
	algorithm: ChecksumAlgorithm,
): Promise<VerifiedFile> {
	try {
		const file = path.join(folder, fileName);
		const found = await hashFile(engine, file, algorithm);
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

async function hashFile(
	engine: Engine,
	file: string,
	algorithm: ChecksumAlgorithm,
): Promise<string> {
	const source = await openFileSource(file);
	try {
		await source.chooseReading(engine.options.directIo);
		const checksum = await digestFile(engine, source, file, algorithm);
		await source.checkUnchanged();
		return checksum;
	} finally {
		await source.close();
	}
}
