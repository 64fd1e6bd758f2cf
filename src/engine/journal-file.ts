import type { OutputFile } from "../io/output-file.ts";
import type { Staging } from "../io/staging.ts";
import { type Claim, encodeClaim, firstSeal } from "./journal.ts";

/** The journal of a run, to which claims are added. Must be closed. */
export class JournalFile {
	/** how many bytes of all shards the claims in it cover */
	safeBytes = 0;
	private readonly file: OutputFile;
	private readonly claimed = new Map<number, number>();
	private seal: string;
	private fileOffset: number;
	/** records that are not written yet */
	private waiting = "";
	private flushed: Promise<void> = Promise.resolve();

	private constructor(file: OutputFile, seal: string, fileOffset: number) {
		this.file = file;
		this.seal = seal;
		this.fileOffset = fileOffset;
	}

	/** Begin a journal with these claims, in the place of one that was there. */
	static async create(
		staging: Staging,
		planText: string,
		claims: readonly Claim[],
	): Promise<JournalFile> {
		let seal = firstSeal(planText);
		let text = "";
		for (const claim of claims) {
			const encoded = encodeClaim(seal, claim);
			seal = encoded.seal;
			text += encoded.record;
		}
		const bytes = Buffer.from(text);
		const file = await staging.writeNote("journal", bytes);
		const journal = new JournalFile(file, seal, bytes.length);
		for (const claim of claims) journal.count(claim);
		return journal;
	}

	/** Add a claim, which is durable once this resolves; those that wait for each other are made so together. */
	async append(claim: Claim): Promise<void> {
		const { record, seal } = encodeClaim(this.seal, claim);
		this.seal = seal;
		this.waiting += record;
		this.flushed = this.flushed.then(() => this.flush());
		await this.flushed;
		this.count(claim);
	}

	/** Count a shard's bytes as safe no longer. */
	forget(shardIndex: number): void {
		this.count({ shardIndex, byteLength: 0 });
	}

	async close(): Promise<void> {
		await this.flushed.catch(() => {}); // told where it was waited for
		await this.file.abandon();
	}

	private async flush(): Promise<void> {
		if (this.waiting === "") return;
		const bytes = Buffer.from(this.waiting);
		this.waiting = "";
		await this.file.write(this.fileOffset, bytes);
		this.fileOffset += bytes.length;
		await this.file.sync();
	}

	private count({
		shardIndex,
		byteLength,
	}: Pick<Claim, "shardIndex" | "byteLength">): void {
		this.safeBytes += byteLength - (this.claimed.get(shardIndex) ?? 0);
		this.claimed.set(shardIndex, byteLength);
	}
}
