import { setTimeout as sleep } from "node:timers/promises";
import { type Fault, NetworkError, throwIfAborted } from "../errors.ts";

/** How often, and how patiently, what fails is tried again. */
export interface RetryPolicy {
	/** in a row without any progress between them */
	attempts: number;
	/** longest wait after the first failure; doubles with each */
	firstWaitMs: number;
	longestWaitMs: number;
	/** longest wait that a server may ask for; the Hub counts requests over 300 s */
	longestServerWaitMs: number;
}

export const DEFAULT_RETRY: RetryPolicy = {
	attempts: 6,
	firstWaitMs: 1000,
	longestWaitMs: 8000,
	longestServerWaitMs: 330_000,
};

/** A wait shorter than this is not worth a notice. */
const NOTICED_WAIT_MS = 5000;

/** A failure that may be gone the next time. */
export class PassingFailure extends Error {
	readonly fault: Fault;
	/** what came before it was too little to go on like that */
	readonly isCrawl: boolean;
	/** what the server asks for; null where it says nothing */
	readonly waitMs: number | null;

	constructor(fault: Fault, waitMs: number | null = null, isCrawl = false) {
		super(fault.what);
		this.fault = fault;
		this.waitMs = waitMs;
		this.isCrawl = isCrawl;
	}
}

/** The tries of one piece of work. */
export class Patience {
	private failures = 0;
	private readonly policy: RetryPolicy;
	private readonly onNotice: (notice: string) => void;
	private readonly signal: AbortSignal | undefined;

	constructor(
		{
			retry,
			onNotice,
		}: { retry: RetryPolicy; onNotice: (notice: string) => void },
		signal?: AbortSignal,
	) {
		this.policy = retry;
		this.onNotice = onNotice;
		this.signal = signal;
	}

	/**
	 * Wait as long as is due before the next try.
	 *
	 * @param gained  whether something was won before it failed: failures are counted anew then
	 * @throws {NetworkError} where there is to be none; whatever is no passing failure, as it is
	 * @throws {InterruptedError}
	 */
	async after(error: unknown, gained = false): Promise<void> {
		if (!(error instanceof PassingFailure)) throw error;
		if (gained && !error.isCrawl) this.failures = 0;
		const { fault, waitMs } = error;
		const { attempts, longestServerWaitMs } = this.policy;
		if (waitMs !== null && waitMs > longestServerWaitMs)
			throw new NetworkError({
				...fault,
				what: `${fault.what}, and it asks to wait ${Math.ceil(waitMs / 1000)} s`,
				remedy: "Run the same command again after that: it goes on from here",
			});
		if (++this.failures >= attempts)
			throw new NetworkError({
				...fault,
				what: `${fault.what} (tried ${attempts} times)`,
				remedy:
					fault.remedy ??
					"Run the same command again later: it goes on from here",
			});
		await this.wait(waitMs ?? this.backoff(), fault);
	}

	/** Full jitter, so that many clients do not come back at once. */
	private backoff(): number {
		const { firstWaitMs, longestWaitMs } = this.policy;
		return (
			Math.random() *
			Math.min(longestWaitMs, firstWaitMs * 2 ** (this.failures - 1))
		);
	}

	private async wait(waitMs: number, { where, what }: Fault): Promise<void> {
		if (waitMs >= NOTICED_WAIT_MS)
			this.onNotice(
				`${where}: ${what}; waiting ${Math.ceil(waitMs / 1000)} s before the next try`,
			);
		await sleep(waitMs, undefined, { signal: this.signal }).catch(() => {});
		throwIfAborted(this.signal, where);
	}
}

/**
 * How long an answer asks to wait, in milliseconds: by `RateLimit` (`"api";r=0;t=55`, seconds until the window
 * ends), else by `Retry-After` (seconds, or a date); null where it does not.
 */
export function serverWaitMs(headers: Headers, now: number): number | null {
	const limits = (headers.get("ratelimit") ?? "").split(",");
	const [, until] =
		/\bt=(\d+)/.exec(limits.find((limit) => /\br=0\b/.test(limit)) ?? "") ?? [];
	if (until !== undefined) return (Number(until) + 1) * 1000; // the window ends within that second
	const after = headers.get("retry-after")?.trim();
	if (!after) return null;
	if (/^\d+$/.test(after)) return Number(after) * 1000;
	const date = Date.parse(after);
	return Number.isNaN(date) ? null : Math.max(0, date - now);
}
