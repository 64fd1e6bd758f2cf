import type { SingleBar } from "cli-progress";
import { type Progress, printable } from "../index.ts";
import { Bars } from "./bars.ts";
import { formatBytes } from "./format.ts";
import type { Terminal } from "./terminal.ts";

/** Shows how far a merge is. */
export interface ProgressView {
	update(progress: Progress): void;
	/** leave the terminal as it should be, also after a failure */
	stop(): void;
}

/**
 * A bar on a terminal, a line for each shard elsewhere, nothing when quiet.
 *
 * @param bars  where others are shown too
 */
export function openProgress(
	terminal: Terminal,
	bars = new Bars(terminal),
): ProgressView {
	if (terminal.options.quiet) return { update() {}, stop() {} };
	return terminal.streams.stderr.isTTY
		? new BarView(bars)
		: new LineView(terminal);
}

class BarView implements ProgressView {
	private readonly bars: Bars;
	private bar: SingleBar | null = null;
	private started = 0;
	/** of an earlier run, or before the first was told */
	private startBytes = 0;

	constructor(bars: Bars) {
		this.bars = bars;
	}

	update(progress: Progress): void {
		const { writtenBytes, totalBytes, shardIndex, shardCount } = progress;
		if (this.bar === null)
			[this.started, this.startBytes] = [performance.now(), writtenBytes];
		const seconds = (performance.now() - this.started) / 1000;
		const speed = seconds > 0 ? (writtenBytes - this.startBytes) / seconds : 0;
		const text = {
			done: `${formatBytes(writtenBytes)}/${formatBytes(totalBytes)}`,
			rate: `${formatBytes(speed)}/s`,
			name: `merged, shard ${shardIndex + 1}/${shardCount}`,
		};
		this.bar ??= this.bars.create(totalBytes, writtenBytes, text);
		this.bar.update(writtenBytes, text);
	}

	stop(): void {
		this.bars.stop();
	}
}

class LineView implements ProgressView {
	private readonly terminal: Terminal;
	private readonly told = new Set<number>();

	constructor(terminal: Terminal) {
		this.terminal = terminal;
	}

	update(progress: Progress): void {
		const { shardIndex, shardWrittenBytes, shardBytes } = progress;
		if (shardWrittenBytes < shardBytes || this.told.has(shardIndex)) return;
		this.told.add(shardIndex);
		this.terminal.note(
			`${printable(progress.shardFileName)} ${formatBytes(progress.shardBytes)} (${progress.shardIndex + 1} of ${progress.shardCount})`,
		);
	}

	stop(): void {}
}
