import type { ByteSource, PassingFile } from "../io/byte-source.ts";

/** A file that passes. */
interface Passage {
	passing: PassingFile;
	/** pieces of work that are still to read it */
	readers: number;
	/** an earlier run has found it right, and none of this one reads it */
	isKnown: boolean;
	/** its SHA-256, once it is known to be right */
	sha256: Promise<string>;
	resolve(sha256: string): void;
	reject(error: unknown): void;
}

/**
 * The files that pass, each of which is known to be right or not only once all of it has: that is when the last that
 * reads it is made.
 */
export class PassingInputs {
	private readonly passages = new Map<ByteSource, Passage>();
	/** those that no work reads */
	private readonly unread: Passage[] = [];
	private readonly onFailure: (error: unknown) => void;

	/**
	 * @param readers    of each piece of work to be done the files it reads
	 * @param made       files that were read for what an earlier run has finished
	 * @param onFailure  called where a file turns out to be wrong
	 */
	constructor(
		sources: Iterable<ByteSource>,
		readers: readonly ReadonlySet<ByteSource>[],
		made: ReadonlySet<ByteSource>,
		onFailure: (error: unknown) => void,
	) {
		this.onFailure = onFailure;
		for (const source of sources) {
			const { passing } = source;
			if (passing === undefined) continue;
			const count = readers.filter((files) => files.has(source)).length;
			const isKnown = count === 0 && made.has(source);
			const passage = createPassage(passing, count, isKnown);
			this.passages.set(source, passage);
			if (count === 0) this.unread.push(passage);
		}
	}

	/** Whether any of these files passes. */
	hasAny(files: Iterable<ByteSource>): boolean {
		return [...files].some((file) => this.passages.has(file));
	}

	/** Say that a piece of work has read all it will of its files. */
	leave(files: Iterable<ByteSource>): void {
		for (const file of files) {
			const passage = this.passages.get(file);
			if (passage !== undefined && --passage.readers === 0)
				this.finish(passage);
		}
	}

	/** Wait until those of these files that pass are known to be right. @throws {VerificationError} where one is not */
	async areRight(files: Iterable<ByteSource>): Promise<void> {
		for (const file of files) await this.passages.get(file)?.sha256;
	}

	/** After all work, once: let the rest pass. @returns SHA-256 in hex by file */
	async all(): Promise<Map<ByteSource, string>> {
		const sums = new Map<ByteSource, string>();
		for (const passage of this.unread) this.finish(passage);
		for (const [file, { sha256 }] of this.passages)
			sums.set(file, await sha256);
		return sums;
	}

	/** Let nobody wait any longer. */
	fail(error: unknown): void {
		for (const { reject } of this.passages.values()) reject(error);
	}

	private finish({ passing, isKnown, resolve, reject }: Passage): void {
		const sha256 = isKnown ? passing.trust() : passing.finish();
		sha256.then(resolve, (error) => {
			reject(error);
			this.onFailure(error);
		});
	}
}

function createPassage(
	passing: PassingFile,
	readers: number,
	isKnown: boolean,
): Passage {
	let resolve: Passage["resolve"] = () => {};
	let reject: Passage["reject"] = () => {};
	const sha256 = new Promise<string>((...settle) => {
		[resolve, reject] = settle;
	});
	sha256.catch(() => {}); // told to those who wait for it
	return { passing, readers, isKnown, sha256, resolve, reject };
}
