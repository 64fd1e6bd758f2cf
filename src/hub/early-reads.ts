import { createHash } from "node:crypto";
import { PlannedBySpoilt } from "../errors.ts";
import type { ByteSource } from "../io/byte-source.ts";
import { readRange } from "./read-range.ts";
import { describeSubject } from "./refusal.ts";
import type { RemoteFile } from "./repository.ts";
import type { HubSettings } from "./settings.ts";

/** Reads with less than this between them become one request: sooner done than another one. */
const MAX_GAP_BYTES = 2 ** 16;
/** No request is longer, so that several go side by side. */
const MAX_REQUEST_BYTES = 2 ** 22;
/** The start of a file is read in small steps, of which the first brings this much. */
const LEAST_REQUEST_BYTES = 2 ** 10;
/** Of what came, so much is kept for whoever reads it again: headers are. */
const MAX_KEPT_BYTES = 2 ** 23;

/** Requests of all files at once. */
const AT_ONCE = 8;

interface Wanted {
	begin: number;
	into: Uint8Array;
	resolve(): void;
	reject(error: unknown): void;
}

interface Chunk {
	begin: number;
	bytes: Uint8Array;
}

/**
 * Reads of a file on the Hub before it is fetched: headers and samples. What is asked for in one turn and lies close
 * together is one request. Each piece is remembered by its checksum, since no one has published one of it: what the
 * file turns out to be whole must say the same.
 */
export class EarlyReads {
	private readonly settings: HubSettings;
	private readonly file: RemoteFile;
	private readonly signal: AbortSignal | undefined;
	private readonly waiting: Wanted[] = [];
	private readonly taken: {
		begin: number;
		byteLength: number;
		sha256: string;
	}[] = [];
	private kept: Chunk[] = [];

	constructor(
		settings: HubSettings,
		file: RemoteFile,
		signal: AbortSignal | undefined,
	) {
		this.settings = settings;
		this.file = file;
		this.signal = signal;
	}

	/** Fill `into` with the bytes from `begin` on, which are in the file. */
	read(begin: number, into: Uint8Array): Promise<void> {
		if (into.length === 0) return Promise.resolve();
		return new Promise((resolve, reject) => {
			if (this.waiting.length === 0) setImmediate(() => this.flush());
			this.waiting.push({ begin, into, resolve, reject });
		});
	}

	/**
	 * Compare what was read with the file as it is now.
	 *
	 * @throws {PlannedBySpoilt} where another one was read
	 */
	async confirm(whole: ByteSource): Promise<void> {
		for (const { begin, byteLength, sha256 } of this.taken) {
			const bytes = new Uint8Array(byteLength);
			await whole.read(begin, bytes);
			if (sha256Of(bytes) !== sha256) throw otherBytes(this.file, begin);
		}
		this.kept = [];
	}

	/** Compare what was read with the file as it passes, piece by piece and whole. */
	watch(): { pass(begin: number, bytes: Uint8Array): void } {
		const open = this.taken.map((each) => ({
			...{ ...each, hash: createHash("sha256") },
			end: each.begin + each.byteLength,
		}));
		this.kept = [];
		return {
			pass: (at, bytes) => {
				for (const { begin, end, hash, sha256 } of open) {
					const from = Math.max(begin, at);
					const to = Math.min(end, at + bytes.length);
					if (from >= to) continue;
					hash.update(bytes.subarray(from - at, to - at));
					if (to === end && hash.digest("hex") !== sha256)
						throw otherBytes(this.file, begin);
				}
			},
		};
	}

	private flush(): void {
		const wanted = this.waiting.splice(0).sort((a, b) => a.begin - b.begin);
		const missing: Wanted[] = [];
		for (const each of wanted) {
			const chunk = this.keptAt(each.begin);
			const end = each.begin + each.into.length;
			if (chunk && endOf(chunk) >= end) give(each, chunk);
			else missing.push(each);
		}
		for (const group of groupsOf(missing)) void this.fetch(group);
	}

	private keptAt(begin: number): Chunk | undefined {
		return this.kept.find(
			(chunk) => chunk.begin <= begin && begin < endOf(chunk),
		);
	}

	private async fetch(group: readonly Wanted[]): Promise<void> {
		try {
			const { begin } = group[0] as Wanted;
			const end = Math.max(...group.map((w) => w.begin + w.into.length));
			const known = this.keptAt(begin);
			const from = known ? endOf(known) : begin;
			const least = Math.min(from + LEAST_REQUEST_BYTES, this.file.byteLength);
			const bytes = await turns.take(() =>
				this.request(from, Math.max(end, least)),
			);
			const chunk =
				known === undefined
					? { begin, bytes }
					: {
							begin: known.begin,
							bytes: Buffer.concat([known.bytes, bytes]),
						};
			this.keep(chunk, known);
			for (const wanted of group) give(wanted, chunk);
		} catch (error) {
			for (const { reject } of group) reject(error);
		}
	}

	private async request(begin: number, end: number): Promise<Uint8Array> {
		const bytes = new Uint8Array(end - begin);
		let byteLength = 0;
		for await (const piece of readRange(
			...([this.settings, this.file, begin, end, this.signal] as const),
		)) {
			bytes.set(piece, byteLength);
			byteLength += piece.length;
		}
		this.taken.push({ begin, byteLength, sha256: sha256Of(bytes) });
		return bytes;
	}

	private keep(chunk: Chunk, instead: Chunk | undefined): void {
		this.kept = [chunk, ...this.kept.filter((each) => each !== instead)];
		let total = 0;
		this.kept = this.kept.filter(({ bytes }) => {
			total += bytes.length;
			return total <= MAX_KEPT_BYTES;
		});
	}
}

/** Reads, sorted by their places, that become one request each. */
function groupsOf(wanted: readonly Wanted[]): Wanted[][] {
	const groups: Wanted[][] = [];
	let [begin, end] = [0, -Infinity];
	for (const each of wanted) {
		const itsEnd = each.begin + each.into.length;
		const isNear = each.begin - end <= MAX_GAP_BYTES;
		if (isNear && itsEnd - begin <= MAX_REQUEST_BYTES)
			groups.at(-1)?.push(each);
		else {
			groups.push([each]);
			begin = each.begin;
			end = itsEnd;
		}
		end = Math.max(end, itsEnd);
	}
	return groups;
}

function give({ begin, into, resolve }: Wanted, chunk: Chunk): void {
	const from = begin - chunk.begin;
	into.set(chunk.bytes.subarray(from, from + into.length));
	resolve();
}

function endOf({ begin, bytes }: Chunk): number {
	return begin + bytes.length;
}

function sha256Of(bytes: Uint8Array): string {
	return createHash("sha256").update(bytes).digest("hex");
}

function otherBytes(file: RemoteFile, begin: number): PlannedBySpoilt {
	return new PlannedBySpoilt({
		where: `${describeSubject({ ...file, revision: file.commit })}, byte ${begin}`,
		what: "other bytes came when it was looked into than when it was fetched",
		remedy: "Is HF_ENDPOINT a mirror, or a proxy in between? Try without",
	});
}

/** Lets a few work at once, in the order of asking. */
class Turns {
	private free = AT_ONCE;
	private readonly waiting: (() => void)[] = [];

	async take<T>(work: () => Promise<T>): Promise<T> {
		if (this.free > 0) this.free--;
		else await new Promise<void>((resolve) => this.waiting.push(resolve));
		try {
			return await work();
		} finally {
			const next = this.waiting.shift();
			if (next) next();
			else this.free++;
		}
	}
}
const turns = new Turns();
