import type { Side } from "./delta/convention.ts";
import type { PlanInput } from "./delta/plan.ts";
import type { ReadFile } from "./engine/manifest.ts";
import {
	FormatError,
	LocalIoError,
	UsageError,
	VerificationError,
} from "./errors.ts";
import { parseSums, readList } from "./expectation.ts";

/** What the inputs must be: for each side the SHA-256 of its one weight file, or a checksum file that lists all. */
export interface ExpectedInputs {
	baseSha256?: string | undefined;
	deltaSha256?: string | undefined;
}

/** The sums of one side: of its only weight file, or by file name. */
type Expected = string | ReadonlyMap<string, string>;

const FLAGS = { base: "--base-sha256", delta: "--delta-sha256" } as const;

/** Checks the files that a merge has read; made before it begins. */
export class InputChecker {
	private readonly expected: ReadonlyMap<string, Expected>;

	private constructor(expected: ReadonlyMap<string, Expected>) {
		this.expected = expected;
	}

	/**
	 * @throws {UsageError} where a sum is neither that nor a file
	 * @throws {FormatError} where a checksum file is malformed
	 */
	static async open({
		baseSha256,
		deltaSha256,
	}: ExpectedInputs): Promise<InputChecker> {
		const expected = new Map<Side, Expected>();
		if (baseSha256)
			expected.set("base", await readExpected("base", baseSha256));
		if (deltaSha256)
			expected.set("delta", await readExpected("delta", deltaSha256));
		return new InputChecker(expected);
	}

	/** Whether any sum is expected, so that all must be taken. */
	get isNeeded(): boolean {
		return this.expected.size > 0;
	}

	/**
	 * See, before anything is read, that every weight file has a sum it must have.
	 *
	 * @throws {UsageError} where one sum is given for several files
	 * @throws {VerificationError} where the checksum file does not list a file
	 */
	checkComplete(inputs: readonly PlanInput[]): void {
		for (const { side, shards } of inputs) {
			const expected = this.expected.get(side);
			if (expected === undefined) continue;
			if (typeof expected === "string" && shards.length !== 1)
				throw new UsageError({
					where: FLAGS[side as Side],
					what: `one checksum for ${shards.length} weight files`,
					remedy:
						"Name a checksum file that lists all of them, such as SHA256SUMS",
				});
			for (const { fileName } of shards)
				if (typeof expected !== "string" && !expected.has(fileName))
					throw new VerificationError({
						where: FLAGS[side as Side],
						what: `${fileName} of the ${side} is not listed`,
						remedy: "Name a checksum file that lists all weight files",
					});
		}
	}

	/**
	 * @param files  that were read, with their sums
	 * @throws {VerificationError} where one is not what it must be
	 */
	check(files: readonly ReadFile[], inputs: readonly PlanInput[]): void {
		for (const file of files) {
			const input = inputs.find(({ side }) => side === file.from);
			this.checkFile(file, input?.shards ?? []);
		}
	}

	private checkFile(file: ReadFile, shards: PlanInput["shards"]): void {
		const sums = this.expected.get(file.from);
		const isWeights = shards.some(({ fileName }) => fileName === file.fileName);
		const expected =
			typeof sums === "string"
				? isWeights
					? sums
					: undefined
				: sums?.get(file.fileName);
		if (expected === undefined || expected === file.sha256) return;
		throw new VerificationError({
			where: `${file.fileName} of the ${file.from}`,
			what: "its checksum is not the expected one, so nothing was published",
			expected,
			found: file.sha256 ?? "none",
			remedy: "Get the file again, and from where the checksum is from",
		});
	}
}

async function readExpected(side: Side, text: string): Promise<Expected> {
	if (/^[0-9a-f]{64}$/i.test(text)) return text.toLowerCase();
	const bytes = await readList(text).catch((error) => {
		if (error instanceof LocalIoError) throw error;
		throw new UsageError({
			where: FLAGS[side],
			what: `${JSON.stringify(text)} is neither a checksum nor a file of them`,
			expected: "64 hexadecimal digits, or a file such as SHA256SUMS",
		});
	});
	const { entries, problems } = parseSums(bytes, text);
	const [problem] = problems;
	if (problem !== undefined)
		throw new FormatError({
			where: text,
			what: `a list that cannot be trusted: ${problem}`,
			remedy: "Get the file again",
		});
	return new Map(entries.map(({ name, checksum }) => [name, checksum]));
}
