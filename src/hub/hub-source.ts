import { SourceChangedError, VerificationError } from "../errors.ts";
import type { PassingFile } from "../io/byte-source.ts";
import { type FileSource, openFileSource } from "../io/file-source.ts";
import { EarlyReads } from "./early-reads.ts";
import { HubStream } from "./hub-stream.ts";
import { hashOf } from "./partial.ts";
import { readRange } from "./read-range.ts";
import { describeSubject } from "./refusal.ts";
import type { RemoteFile } from "./repository.ts";
import type { HubSettings } from "./settings.ts";

/** A git file is small (the Hub wants larger ones in LFS); what is longer all the same is read by ranges. */
const MAX_WHOLE_BYTES = 2 ** 24;

/**
 * A file on the Hub, read where it is until it is fetched, and then from the cache: so that what was planned by its
 * header is done with the very file. A small one that is not in LFS is read whole, and checked by its id.
 */
export class HubSource implements FileSource {
	readonly path: string;
	readonly byteLength: number;
	readonly contentId: string;
	readonly identity: string;
	private readonly settings: HubSettings;
	private readonly file: RemoteFile;
	private readonly signal: AbortSignal | undefined;
	private readonly early: EarlyReads;
	private stream: HubStream | null = null;
	private readsWhole: boolean;
	private whole: Promise<Uint8Array> | null = null;
	private local: FileSource | null = null;
	private readonly arrival = new Arrival();

	constructor(
		settings: HubSettings,
		file: RemoteFile,
		signal?: AbortSignal | undefined,
	) {
		this.path = describeSubject({ ...file, revision: file.commit });
		this.byteLength = file.byteLength;
		this.contentId = file.oid;
		this.identity = `${file.commit}:${file.oid}`;
		this.settings = settings;
		this.file = file;
		this.signal = signal;
		this.early = new EarlyReads(settings, file, signal);
		this.readsWhole = !file.isLfs && file.byteLength <= MAX_WHOLE_BYTES;
	}

	async read(
		fileOffset: number,
		into: Uint8Array,
		isOneOfTwo?: boolean,
	): Promise<void> {
		if (this.local) return this.local.read(fileOffset, into, isOneOfTwo);
		const end = fileOffset + into.length;
		if (end > this.byteLength)
			throw new SourceChangedError({
				where: this.path,
				what: "the file ends early",
				expected: `${end} bytes`,
				found: `${this.byteLength}`,
			});
		if (this.stream) return this.stream.read(fileOffset, into);
		if (!this.readsWhole) return this.early.read(fileOffset, into);
		this.whole ??= this.readWhole();
		into.set((await this.whole).subarray(fileOffset, end));
	}

	/** Never fetch the file: from now on it passes. @param onPassed  called with how much of it has */
	letPass(onPassed: (byteLength: number) => void): void {
		this.stream = new HubStream(
			...([this.settings, this.file, this.early, this.signal] as const),
			onPassed,
		);
		this.arrival.come();
	}

	/** Never fetch the file: it is small enough to be read whole, and checked. */
	keepWhole(): void {
		this.readsWhole = true;
	}

	get passing(): PassingFile | undefined {
		return this.stream ?? undefined;
	}

	/** Resolves once the file was fetched, or passes. */
	ready(): Promise<void> {
		return this.arrival.promise;
	}

	/**
	 * From now on read the file that was fetched.
	 *
	 * @throws {VerificationError} where other bytes were read before
	 */
	async settle(path: string): Promise<void> {
		if (this.local) return;
		const local = await openFileSource(path);
		try {
			await this.early.confirm(local);
		} catch (error) {
			await local.close();
			throw error;
		}
		this.local = local;
		this.whole = null;
		this.arrival.come();
	}

	/** It will not be fetched. */
	fail(error: unknown): void {
		this.arrival.fail(error);
	}

	get isDirect(): boolean {
		return this.local?.isDirect ?? false;
	}

	async chooseReading(...how: Parameters<FileSource["chooseReading"]>) {
		await this.local?.chooseReading(...how); // far away there is no page cache
	}

	/** A commit does not change, and each answer was compared with the list. */
	async checkUnchanged(): Promise<void> {
		await this.local?.checkUnchanged();
	}

	/** Left to the repository, because it may be opened by several. */
	async close(): Promise<void> {}

	async closeLocal(): Promise<void> {
		await this.stream?.close();
		await this.local?.close();
	}

	private async readWhole(): Promise<Uint8Array> {
		const { settings, file, byteLength, signal } = this;
		const bytes = new Uint8Array(byteLength);
		const hash = hashOf(file);
		let done = 0;
		for await (const piece of readRange(
			...([settings, file, 0, byteLength, signal] as const),
		)) {
			bytes.set(piece, done);
			hash.update(piece);
			done += piece.length;
		}
		const found = hash.digest("hex");
		if (found !== file.oid)
			throw new VerificationError({
				...{ where: this.path, expected: file.oid, found },
				what: "other bytes came than were published",
				remedy: "Is HF_ENDPOINT a mirror, or a proxy in between? Try without",
			});
		return bytes;
	}
}

/** A promise to be kept later; where nobody waits for it, nobody minds that it is broken. */
class Arrival {
	readonly promise: Promise<void>;
	come = () => {};
	fail: (error: unknown) => void = () => {};

	constructor() {
		this.promise = new Promise((resolve, reject) => {
			this.come = resolve;
			this.fail = reject;
		});
		this.promise.catch(() => {});
	}
}
