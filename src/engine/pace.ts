import { DIRECT_ALIGNMENT } from "../io/direct-io.ts";

/**
 * Finds how long slices should be, by trying: what suits a disk that wants much in flight is slow for
 * files that lie in memory. Climbs by factors of two while the rate grows, and looks again now and then.
 */
export class Pace {
	/** output bytes of the next slice; whole pages, since what begins between two goes through the page cache */
	sliceBytes: number;
	private readonly least: number;
	private readonly most: number;
	private readonly clock: () => number;
	private started: number;
	private windowBytes = 0;
	private settled: { windows: number } | null = null;
	/** the rate before the step that is being tried, bytes per second */
	private before = 0;
	private direction: 2 | 0.5 = 2;
	private turned = false;

	constructor(
		{ first, least, most }: { first: number; least: number; most: number },
		clock: () => number = () => performance.now() / 1000,
	) {
		this.least = least;
		this.most = most;
		this.sliceBytes = this.clamp(first);
		this.clock = clock;
		this.started = clock();
	}

	/** Tell of bytes that are done. */
	done(byteLength: number): void {
		this.windowBytes += byteLength;
		const seconds = this.clock() - this.started;
		if (
			seconds < MIN_WINDOW_SECONDS ||
			this.windowBytes < MIN_WINDOW_SLICES * this.sliceBytes
		)
			return;
		this.judge(this.windowBytes / seconds);
		this.windowBytes = 0;
		this.started = this.clock();
	}

	private judge(rate: number): void {
		if (this.settled) {
			if (++this.settled.windows < WINDOWS_SETTLED) return;
			this.settled = null;
			this.turned = false;
			this.before = rate;
			this.step();
		} else if (this.before === 0) {
			this.before = rate;
			this.step();
		} else if (rate > this.before * WORTH_IT) {
			this.before = rate;
			this.step();
		} else {
			this.sliceBytes = this.clamp(this.sliceBytes / this.direction);
			this.turn();
		}
	}

	private step(): void {
		const next = this.clamp(this.sliceBytes * this.direction);
		if (next === this.sliceBytes) this.turn();
		else this.sliceBytes = next;
	}

	/** The other direction, once; then stay. */
	private turn(): void {
		this.direction = this.direction === 2 ? 0.5 : 2;
		if (this.turned) this.settled = { windows: 0 };
		else {
			this.turned = true;
			this.step();
		}
	}

	private clamp(sliceBytes: number): number {
		const whole = sliceBytes - (sliceBytes % DIRECT_ALIGNMENT);
		return Math.min(Math.max(whole, this.least), this.most);
	}
}

const MIN_WINDOW_SECONDS = 0.25;
const MIN_WINDOW_SLICES = 16;
/** A gain below this is noise: disks are shared, and one window is often a third faster than the next. */
const WORTH_IT = 1.2;
const WINDOWS_SETTLED = 50;
