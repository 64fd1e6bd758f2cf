import type { ByteSource } from "../io/byte-source.ts";
import type { FileSource } from "../io/file-source.ts";

/** Which of the sources that are on their way have come. */
export class Arrivals {
	private readonly pending = new Set<ByteSource>();
	private failure: { error: unknown } | null = null;
	private wake = () => {};
	private next: Promise<void>;

	/**
	 * @param onArrival  what a source that has come undergoes before it is read
	 * @param onFailure  called with what keeps a source from coming, and is to call {@link fail}
	 */
	constructor(
		sources: Iterable<FileSource>,
		onArrival: (source: FileSource) => Promise<void>,
		onFailure: (error: unknown) => void,
	) {
		this.next = this.another();
		for (const source of sources) {
			this.pending.add(source);
			(source.ready?.() ?? Promise.resolve())
				.then(() => onArrival(source))
				.then(() => this.came(source), onFailure);
		}
	}

	/** Let nobody wait any longer. */
	fail(error: unknown): void {
		this.failure ??= { error };
		this.wake();
	}

	private came(source: ByteSource): void {
		this.pending.delete(source);
		this.lookAgain();
	}

	/** Let those who wait look again: something else has changed. */
	lookAgain(): void {
		const { wake } = this;
		this.next = this.another();
		wake();
	}

	/** Whether some are still on their way. */
	get isExpecting(): boolean {
		return this.pending.size > 0;
	}

	has(sources: Iterable<ByteSource>): boolean {
		for (const source of sources) if (this.pending.has(source)) return false;
		return true;
	}

	/** Wait until all are here. @throws the first failure of any source to come */
	async all(): Promise<void> {
		while (this.pending.size > 0) await this.one();
	}

	/** Wait until one more is here, or something else has changed. @throws the first failure of any source to come */
	async one(): Promise<void> {
		if (this.failure === null) await this.next;
		if (this.failure !== null) throw this.failure.error;
	}

	private another(): Promise<void> {
		return new Promise((resolve) => {
			this.wake = resolve;
		});
	}
}
