import { createHash, type Hash } from "node:crypto";
import { SpoiltOnItsWay } from "../errors.ts";
import { BLOCK_BYTES, type BlockReader, BlockSums } from "./block-sums.ts";
import type { EarlyReads } from "./early-reads.ts";
import { hashOf } from "./partial.ts";
import { readRange } from "./read-range.ts";
import { describeSubject } from "./refusal.ts";
import type { RemoteFile } from "./repository.ts";
import type { HubSettings } from "./settings.ts";

/** So much of what has passed can still be read: reads are widened to whole pages, and so overlap. */
const RECENT_BYTES = 2 ** 16;

interface Wanted {
	begin: number;
	end: number;
	into: Uint8Array;
	resolve(): void;
	reject(error: unknown): void;
}

interface Piece {
	begin: number;
	bytes: Uint8Array;
}

/**
 * A file that passes once, from its first byte to its last, in one request unless the connection breaks, and is stored
 * nowhere. It passes as far as reads want it, straight into their memory; what a read wants that has passed already
 * is asked for again, and compared with what had passed. All of it is hashed on the way. Must be closed.
 */
export class HubStream {
	private readonly settings: HubSettings;
	private readonly file: RemoteFile;
	private readonly signal: AbortSignal | undefined;
	private readonly early: ReturnType<EarlyReads["watch"]>;
	private readonly onPassed: (byteLength: number) => void;
	private readonly pieces: AsyncGenerator<Uint8Array>;
	private readonly sha256 = createHash("sha256");
	/** of what is not in LFS, and so has another name */
	private readonly blobId: Hash | null;
	private readonly blocks: BlockSums;
	private readonly passed: BlockReader;
	/** what passes next */
	private at = 0;
	private inHand = new Uint8Array();
	/** the last that has passed, in its order */
	private recent: Piece[] = [];
	private waiting: Wanted[] = [];
	/** it passes up to here without waiting for more reads */
	private until = 0;
	private isPassing = false;
	private passing = Promise.resolve();
	private failure: { error: unknown } | null = null;

	/** @param onPassed  called with how much of the file has passed */
	constructor(
		settings: HubSettings,
		file: RemoteFile,
		early: EarlyReads,
		signal: AbortSignal | undefined,
		onPassed: (byteLength: number) => void,
	) {
		this.settings = settings;
		this.file = file;
		this.signal = signal;
		this.early = early.watch();
		this.onPassed = onPassed;
		this.blobId = file.isLfs ? null : hashOf(file);
		this.blocks = new BlockSums(this.where, file.byteLength);
		this.passed = this.blocks.from(0);
		this.pieces = readRange(
			...([settings, file, 0, file.byteLength, signal] as const),
		);
	}

	/** Fill `into` with the bytes from `begin` on, which are in the file. Best asked for in the order of the file. */
	async read(begin: number, into: Uint8Array): Promise<void> {
		const end = begin + into.length;
		const kept = this.recent[0]?.begin ?? this.at;
		const work: Promise<void>[] = [];
		if (begin < kept)
			work.push(this.readAgain(begin, into.subarray(0, kept - begin)));
		for (const piece of this.recent) copyTo(into, begin, piece);
		if (end > this.at) work.push(this.wait(begin, into));
		await Promise.all(work);
	}

	/**
	 * The same, by a request of its own, whether it has passed or is to.
	 *
	 * @throws {SpoiltOnItsWay} where it is not what has passed; otherwise that is told where it passes
	 */
	async readAgain(begin: number, into: Uint8Array): Promise<void> {
		const { settings, file, signal } = this;
		const past = begin + into.length + BLOCK_BYTES - 1;
		let at = begin - (begin % BLOCK_BYTES);
		const end = Math.min(past - (past % BLOCK_BYTES), file.byteLength);
		const blocks = this.blocks.from(at);
		for await (const bytes of readRange(
			...([settings, file, at, end, signal] as const),
		)) {
			blocks.take(bytes);
			copyTo(into, begin, { begin: at, bytes });
			at += bytes.length;
		}
	}

	/**
	 * Let the rest pass.
	 *
	 * @returns its SHA-256, once its checksum is right
	 * @throws {SpoiltOnItsWay} where it is not
	 */
	async finish(): Promise<string> {
		const { byteLength, oid } = this.file;
		while (this.at < byteLength && this.failure === null) {
			this.pass(byteLength);
			await this.passing;
		}
		if (this.failure !== null) throw this.failure.error;
		const sha256 = this.sha256.copy().digest("hex");
		const found = this.blobId?.copy().digest("hex") ?? sha256;
		if (found === oid) return sha256;
		throw new SpoiltOnItsWay({
			...{ where: this.where, expected: oid, found },
			what: "other bytes came than were published",
			remedy: "Is HF_ENDPOINT a mirror, or a proxy in between? Try without",
		});
	}

	/** The same where it is known to be right: nothing passes, if its SHA-256 was published. */
	async trust(): Promise<string> {
		const { isLfs, oid, byteLength } = this.file;
		if (!isLfs) return this.finish();
		this.onPassed(byteLength);
		return oid;
	}

	async close(): Promise<void> {
		await this.pieces.return(undefined).catch(() => {});
	}

	private wait(begin: number, into: Uint8Array): Promise<void> {
		const end = begin + into.length;
		return new Promise((resolve, reject) => {
			this.waiting.push({ begin, end, into, resolve, reject });
			this.pass(end);
		});
	}

	/** Let it pass up to there at least. */
	private pass(until: number): void {
		this.until = Math.max(this.until, until);
		if (this.failure !== null) this.settle();
		else if (!this.isPassing) {
			this.isPassing = true;
			this.passing = this.run();
		}
	}

	private async run(): Promise<void> {
		try {
			while (this.at < this.until) {
				if (this.inHand.length === 0) {
					const { value } = await this.pieces.next();
					this.inHand = value ?? new Uint8Array();
					if (value === undefined) throw new RangeError(`${this.where}: over`);
				}
				const bytes = this.inHand.subarray(0, this.until - this.at);
				this.inHand = this.inHand.subarray(bytes.length);
				this.take({ begin: this.at, bytes });
			}
		} catch (error) {
			this.failure = { error };
		}
		this.isPassing = false;
		this.settle();
	}

	private take(piece: Piece): void {
		const { begin, bytes } = piece;
		this.sha256.update(bytes);
		this.blobId?.update(bytes);
		this.early.pass(begin, bytes);
		this.passed.take(bytes);
		this.at = begin + bytes.length;
		for (const { begin, into } of this.waiting) copyTo(into, begin, piece);
		this.recent.push(piece);
		while (endOf(this.recent[0]) <= this.at - RECENT_BYTES) this.recent.shift();
		this.settle();
		this.onPassed(this.at);
	}

	/** Answer those that have all, or will never. */
	private settle(): void {
		const { failure } = this;
		const [done, waiting]: [Wanted[], Wanted[]] = [[], []];
		for (const wanted of this.waiting)
			(wanted.end <= this.at || failure ? done : waiting).push(wanted);
		this.waiting = waiting;
		for (const { end, resolve, reject } of done)
			if (end <= this.at) resolve();
			else reject(failure?.error);
	}

	private get where(): string {
		return describeSubject({ ...this.file, revision: this.file.commit });
	}
}

/** Copy what a piece holds of `[begin, begin + into.length)`. */
function copyTo(into: Uint8Array, begin: number, piece: Piece): void {
	const from = Math.max(begin, piece.begin);
	const to = Math.min(begin + into.length, endOf(piece));
	if (from >= to) return;
	into.set(
		piece.bytes.subarray(from - piece.begin, to - piece.begin),
		from - begin,
	);
}

/** Infinity where there is none. */
function endOf(piece: Piece | undefined): number {
	return piece === undefined ? Infinity : piece.begin + piece.bytes.length;
}
