import type { ChecksumAlgorithm } from "../format/checksum-file.ts";
import { type CheckedRange, wrongCrc } from "../io/checked-range.ts";
import type { Crew } from "./crew.ts";
import { type HashedFile, newHashedFile } from "./file-hashes.ts";
import type { CrcStretch, StepResult } from "./step.ts";

/** What is taken of a file's bytes. */
export interface DigestOptions {
	/** default SHA-256 */
	algorithm?: ChecksumAlgorithm;
	/** stretches of the file, in their order, whose CRC-32 is checked; default none */
	checkedRanges?: readonly CheckedRange[];
	/** offset of the file where the first bytes lie; default 0 */
	begin?: number;
}

/** The checksum of one file, or of a stretch of it, taken from bytes that arrive in slots, in any order. */
export class Digest {
	private readonly crew: Crew;
	private readonly file: HashedFile;
	private ranges: readonly CheckedRange[];
	private last: Promise<void> = Promise.resolve();
	/** offset of the file up to which bytes were given to the crew */
	private hashed: number;
	/** the first range that is not checked whole yet */
	private firstRange = 0;

	constructor(crew: Crew, options: DigestOptions = {}) {
		const { algorithm = "sha256" } = options;
		this.crew = crew;
		this.file = newHashedFile(algorithm, crew.kernel);
		this.ranges = options.checkedRanges ?? [];
		this.hashed = options.begin ?? 0;
	}

	/**
	 * Take a place in the file's order. The bytes follow once they are there; `skip` ends a place that
	 * will have none, so that those behind it do not wait for ever.
	 */
	takePlace(): DigestPlace {
		const before = this.last;
		let passOn = () => {};
		let given = false;
		this.last = new Promise((resolve) => {
			passOn = resolve;
		});
		return {
			hash: async (byteOffset, byteLength) => {
				await before;
				given = true;
				const hashed = this.crew.perform({
					kind: "hash",
					file: this.file,
					byteOffset,
					byteLength,
					crcs: this.nextStretches(byteLength),
				});
				passOn(); // the crew keeps the order of one file
				refuseCorrupt(await hashed);
			},
			skip: () => {
				// Bytes are missing from now on, so that no CRC could be right.
				if (!given) this.ranges = [];
				passOn();
			},
		};
	}

	/** What the next bytes of the file hold of the checked ranges. */
	private nextStretches(byteLength: number): CrcStretch[] {
		const begin = this.hashed;
		const end = begin + byteLength;
		this.hashed = end;
		const stretches: CrcStretch[] = [];
		for (; ; this.firstRange++) {
			const range = this.ranges[this.firstRange];
			if (!range || range.begin >= end) return stretches;
			const from = Math.max(range.begin, begin);
			const to = Math.min(range.end, end);
			const ends = range.end <= end ? range : null;
			stretches.push({
				byteOffset: from - begin,
				byteLength: to - from,
				begins: from === range.begin,
				ends: ends && { where: ends.where, crc32: ends.crc32 },
			});
			if (ends === null) return stretches;
		}
	}

	/** @returns checksum, in hex, of the bytes of all places that were taken so far */
	async peek(): Promise<string> {
		const { file, crew } = this;
		const peeked = this.last.then(() => crew.perform({ kind: "peek", file }));
		// Those behind wait until it is with the crew, which keeps the order of one file.
		this.last = this.last.then(() => {});
		return (await peeked).checksum;
	}

	/** After the last place was taken. @returns hex */
	async finish(): Promise<string> {
		await this.last;
		const { file, crew } = this;
		return (await crew.perform({ kind: "finish", file })).checksum;
	}
}

export interface DigestPlace {
	/** @param byteOffset  in the memory of the slots, which must stay as it is until this resolves */
	hash(byteOffset: number, byteLength: number): Promise<void>;
	skip(): void;
}

function refuseCorrupt({ corrupt }: StepResult): void {
	for (const { where, expected, found } of corrupt)
		throw wrongCrc(where, expected, found);
}
