import type { OutputShard } from "../delta/plan.ts";
import { VerificationError } from "../errors.ts";
import type { OutputFile, WrittenFile } from "../io/output-file.ts";
import type { Digest, DigestPlace } from "./digest.ts";
import type { Ground } from "./run-plan.ts";
import { type OutputSlice, ShardCutter } from "./slice.ts";
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

/** Slices in a row that are claimed together. */
interface Stretch {
	/** offset in the shard where it ends, once its last slice is issued */
	end: number | null;
	/** of the shard up to there */
	sha256: Promise<string>;
	/** slices that are issued and not written yet */
	pending: number;
	tally: Tally;
}

/** A slice of a lane that is on its way to the disk. */
export interface LaneSlice {
	slice: OutputSlice;
	outPlace: DigestPlace;
	stretch: Stretch;
}

/**
 * An output shard that is being written. Slices are done in any order; now and then all up to some offset are
 * made durable, and claimed in the journal.
 */
export class Lane {
	readonly shardIndex: number;
	readonly shard: OutputShard;
	/** also those of an earlier run */
	writtenBytes: number;
	/** whether nothing was issued yet */
	isFresh = true;
	private readonly file: OutputFile;
	private readonly digest: Digest;
	private readonly cutter: ShardCutter;
	private readonly syncBytes: number;
	/** in their order; the first is to be claimed next */
	private readonly stretches: Stretch[] = [];
	private issuedBytes: number;
	private claimedBytes: number;
	private claiming = false;
	/** nobody knows what of the file is on the disk */
	private isLost = false;

	constructor(opened: OpenShard, syncBytes: number) {
		const { shardIndex, shard, file, digest, fileOffset } = opened;
		this.shardIndex = shardIndex;
		this.shard = shard;
		this.file = file;
		this.digest = digest;
		this.cutter = new ShardCutter(shard, fileOffset);
		this.syncBytes = syncBytes;
		this.writtenBytes = fileOffset;
		this.issuedBytes = fileOffset;
		this.claimedBytes = fileOffset;
	}

	/** Whether all of its slices are issued. */
	get isIssued(): boolean {
		return this.cutter.isDone;
	}

	/** The next slice; to be issued by `issue` before the one behind it is asked for. */
	next(sliceBytes: number, slotBytes: number): OutputSlice {
		return this.cutter.next(sliceBytes, slotBytes);
	}

	/** Give a slice its places in the checksum and in what is claimed. */
	issue(slice: OutputSlice): LaneSlice {
		this.isFresh = false;
		let stretch = this.stretches.at(-1);
		if (stretch === undefined || stretch.end !== null) {
			const sha256 = Promise.resolve("");
			stretch = { ...{ end: null, sha256, pending: 0 }, tally: new Tally() };
			this.stretches.push(stretch);
		}
		stretch.pending++;
		const outPlace = this.digest.takePlace();
		this.issuedBytes += slice.write.byteLength;
		const sofar = this.issuedBytes - this.claimedBytes;
		if (this.isIssued || sofar >= this.syncBytes) {
			stretch.end = this.issuedBytes;
			this.claimedBytes = this.issuedBytes;
			stretch.sha256 = this.isIssued
				? this.digest.finish()
				: this.digest.peek();
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

	/** Data is durable before it is claimed. */
	private async claimStretch(
		{ end, sha256: hashed, tally }: Stretch,
		{ staging, journal }: Ground,
	): Promise<WrittenFile | null> {
		const { shardIndex, file } = this;
		const { fileName, byteLength, sha256: expected } = this.shard;
		const isWhole = end === byteLength;
		const [sha256] = await Promise.all([hashed, this.sync()]);
		if (isWhole && expected !== null && sha256 !== expected)
			throw wrongResult(fileName, expected, sha256);
		const claim = { shardIndex, byteLength: end as number, sha256 };
		await journal.append({ ...claim, counts: tally.counts });
		if (!isWhole) return null;
		await file.close();
		await staging.complete(fileName);
		return { fileName, byteLength, sha256 };
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
