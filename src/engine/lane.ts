import type { OutputShard } from "../delta/plan.ts";
import { VerificationError } from "../errors.ts";
import type { OutputFile, WrittenFile } from "../io/output-file.ts";
import type { Digest, DigestPlace } from "./digest.ts";
import { digestFile } from "./digest-stretch.ts";
import type { Engine } from "./engine.ts";
import type { Ground } from "./ground.ts";
import type { OutputSlice } from "./slice.ts";
import { type Counts, Tally } from "./tally.ts";

/** A shard, open to be written from an offset on. */
export interface OpenShard {
	shardIndex: number;
	shard: OutputShard;
	file: OutputFile;
	/** of the bytes before that offset */
	digest: Digest;
	fileOffset: number;
}

export interface LaneOptions {
	/** whether its slices are issued in their order; otherwise it is read once more for its checksum */
	isInOrder: boolean;
	/** so many bytes are claimed together; infinite where only the whole shard is to be claimed */
	syncBytes: number;
	/** resolves once what the shard is made of is known to be right: nothing is claimed before */
	inputsAreRight(): Promise<void>;
}

/** Slices in a row that are claimed together. */
interface Stretch {
	/** offset in the shard where it ends, once its last slice is issued */
	end: number | null;
	/** of the shard up to there; null where it is yet to be read for that */
	sha256: Promise<string | null>;
	/** slices that are issued and not written yet */
	pending: number;
	tally: Tally;
}

/** A slice of a lane that is on its way to the disk. */
export interface LaneSlice {
	slice: OutputSlice;
	outPlace: DigestPlace | null;
	stretch: Stretch;
}

/**
 * An output shard that is being written. Slices are done in any order; now and then all up to some offset are
 * made durable, and claimed in the journal. Where they are not issued in their order either, all of it is at once.
 */
export class Lane {
	readonly shardIndex: number;
	readonly shard: OutputShard;
	/** also those of an earlier run */
	writtenBytes: number;
	private readonly file: OutputFile;
	private readonly digest: Digest | null;
	private readonly engine: Engine;
	private readonly options: LaneOptions;
	/** in their order; the first is to be claimed next */
	private readonly stretches: Stretch[] = [];
	private issuedBytes: number;
	private claimedBytes: number;
	private claiming = false;
	/** nobody knows what of the file is on the disk */
	private isLost = false;

	constructor(opened: OpenShard, engine: Engine, options: LaneOptions) {
		const { shardIndex, shard, file, digest, fileOffset } = opened;
		this.shardIndex = shardIndex;
		this.shard = shard;
		this.file = file;
		this.digest = options.isInOrder ? digest : null;
		if (this.digest === null) digest.finish().catch(() => {}); // of no use
		this.engine = engine;
		this.options = options;
		this.writtenBytes = fileOffset;
		this.issuedBytes = fileOffset;
		this.claimedBytes = fileOffset;
	}

	/** Give a slice its places in the checksum and in what is claimed. */
	issue(slice: OutputSlice): LaneSlice {
		let stretch = this.stretches.at(-1);
		if (stretch === undefined || stretch.end !== null) {
			const sha256 = Promise.resolve(null);
			stretch = { ...{ end: null, sha256, pending: 0 }, tally: new Tally() };
			this.stretches.push(stretch);
		}
		stretch.pending++;
		const outPlace = this.digest?.takePlace() ?? null;
		this.issuedBytes += slice.write.byteLength;
		const sofar = this.issuedBytes - this.claimedBytes;
		const isIssued = this.issuedBytes === this.shard.byteLength;
		if (isIssued || sofar >= this.options.syncBytes) {
			stretch.end = this.issuedBytes;
			this.claimedBytes = this.issuedBytes;
			if (this.digest !== null)
				stretch.sha256 = isIssued ? this.digest.finish() : this.digest.peek();
			stretch.sha256.catch(() => {}); // told where it is awaited
		}
		return { slice, outPlace, stretch };
	}

	async write({ slice }: LaneSlice, bytes: Uint8Array): Promise<void> {
		await this.file.write(slice.write.fileOffset, bytes);
	}

	count({ stretch }: LaneSlice, counts: Counts): void {
		stretch.tally.add(counts);
	}

	/** Say that a slice is written. @returns whether there is something to claim */
	written({ slice, stretch }: LaneSlice): boolean {
		stretch.pending--;
		this.writtenBytes += slice.write.byteLength;
		return this.firstIsDone;
	}

	private get firstIsDone(): boolean {
		const [first] = this.stretches;
		return first !== undefined && first.end !== null && first.pending === 0;
	}

	/**
	 * Claim what can be claimed.
	 *
	 * @param onClaim  called after each, with what it counted
	 * @returns the shard, once it is whole
	 */
	async claim(
		ground: Ground,
		onClaim: (counts: Counts) => void,
	): Promise<WrittenFile | null> {
		let whole: WrittenFile | null = null;
		if (this.claiming) return whole; // whoever claims takes what has come meanwhile
		this.claiming = true;
		while (this.firstIsDone) {
			const stretch = this.stretches.shift() as Stretch;
			whole = await this.claimStretch(stretch, ground);
			onClaim(stretch.tally.counts);
		}
		this.claiming = false;
		return whole;
	}

	/** Close the file, whether it is whole or not. */
	async abandon({ staging, journal }: Ground): Promise<void> {
		await this.file.abandon();
		if (!this.isLost) return;
		const { fileName } = this.shard;
		await staging.remove({ fileName, isWhole: false }).catch(() => {});
		journal.forget(this.shardIndex);
	}

	/** Data is durable, and made of what is right, before it is claimed. */
	private async claimStretch(
		{ end, sha256: hashed, tally }: Stretch,
		{ staging, journal }: Ground,
	): Promise<WrittenFile | null> {
		const { shardIndex, file } = this;
		const { fileName, byteLength, sha256: expected } = this.shard;
		const isWhole = end === byteLength;
		const [inOrder] = await Promise.all([
			hashed,
			this.sync(),
			this.options.inputsAreRight(),
		]);
		const sha256 = inOrder ?? (await this.readDigest());
		if (isWhole && expected !== null && sha256 !== expected)
			throw wrongResult(fileName, expected, sha256);
		const claim = { shardIndex, byteLength: end as number, sha256 };
		await journal.append({ ...claim, counts: tally.counts });
		if (!isWhole) return null;
		await file.close();
		await staging.complete(fileName);
		return { fileName, byteLength, sha256 };
	}

	private readDigest(): Promise<string> {
		const { file, shard, engine } = this;
		const { byteLength } = shard;
		const read: OutputFile["read"] = (at, into) => file.read(at, into);
		return digestFile(engine, { read, byteLength }, file.path);
	}

	private async sync(): Promise<void> {
		await this.file.sync().catch((error) => {
			this.isLost = true;
			throw error;
		});
	}
}

function wrongResult(
	where: string,
	expected: string,
	found: string,
): VerificationError {
	return new VerificationError({
		where,
		what: "the result is not what its publisher made, so nothing was published",
		...{ expected: `SHA-256 ${expected}`, found },
		remedy: "Is it the right base, and are both files whole?",
	});
}
