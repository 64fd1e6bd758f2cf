import type { OutputFile } from "../io/output-file.ts";
import type { Staging } from "../io/staging.ts";
import { type Claim, encodeClaim, firstSeal } from "./journal.ts";

/**
 * The journal of a run, to which claims are added. Must be closed. They are made durable when they say enough to be
 * worth it: for models that are made in no time that would be the most of the work.
 */
export class JournalFile {
	/** how many bytes of all shards the claims cover that are durable */
	safeBytes = 0;
	private readonly staging: Staging;
	private readonly syncBytes: number;
	private readonly file: OutputFile;
	/** bytes of each shard that are claimed, durably or not */
	private readonly claimed = new Map<number, number>();
	/** claimed, and not safe yet */
	private waitingBytes = 0;
	private seal: string;
	private fileOffset: number;
	/** records that are not written yet */
	private waiting = "";
	private flushed: Promise<void> = Promise.resolve();

	private constructor(
		staging: Staging,
		syncBytes: number,
		file: OutputFile,
		seal: string,
		fileOffset: number,
	) {
		this.staging = staging;
		this.syncBytes = syncBytes;
		this.file = file;
		this.seal = seal;
		this.fileOffset = fileOffset;
	}

	/**
	 * Begin a journal with these claims, in the place of one that was there.
	 *
	 * @param syncBytes  of shards, after which claims are made durable
	 */
	static async create(
		staging: Staging,
		planText: string,
		claims: readonly Claim[],
		syncBytes: number,
	): Promise<JournalFile> {
		let seal = firstSeal(planText);
		let text = "";
		for (const claim of claims) {
			const encoded = encodeClaim(seal, claim);
			seal = encoded.seal;
			text += encoded.record;
		}
		const bytes = Buffer.from(text);
		const file = await staging.notes.write("journal", bytes);
		const journal = new JournalFile(
			...([staging, syncBytes, file, seal, bytes.length] as const),
		);
		for (const claim of claims) journal.safeBytes += journal.count(claim);
		return journal;
	}

	/** Add a claim of durable bytes; `safeBytes` tells when it is durable itself. */
	async append(claim: Claim): Promise<void> {
		const { record, seal } = encodeClaim(this.seal, claim);
		this.seal = seal;
		this.waiting += record;
		this.waitingBytes += this.count(claim);
		if (this.waitingBytes >= this.syncBytes) await this.flush();
	}

	/** Make all claims durable, with the names of the files they are of. */
	flush(): Promise<void> {
		this.flushed = this.flushed.then(() => this.flushWaiting());
		return this.flushed;
	}

	/** Count a shard's bytes as safe no longer. */
	forget(shardIndex: number): void {
		this.safeBytes += this.count({ shardIndex, byteLength: 0 });
	}

	async close(): Promise<void> {
		await this.flushed.catch(() => {}); // told where it was waited for
		await this.file.abandon();
	}

	private async flushWaiting(): Promise<void> {
		if (this.waiting === "") return;
		const [bytes, covered] = [Buffer.from(this.waiting), this.waitingBytes];
		this.waiting = "";
		this.waitingBytes = 0;
		await this.staging.syncNames();
		await this.file.write(this.fileOffset, bytes);
		this.fileOffset += bytes.length;
		await this.file.sync();
		this.safeBytes += covered;
	}

	/** @returns how many more bytes of its shard are claimed now */
	private count({
		shardIndex,
		byteLength,
	}: Pick<Claim, "shardIndex" | "byteLength">): number {
		const more = byteLength - (this.claimed.get(shardIndex) ?? 0);
		this.claimed.set(shardIndex, byteLength);
		return more;
	}
}
