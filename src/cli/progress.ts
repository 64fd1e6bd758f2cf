import type { SingleBar } from "cli-progress";
import { type Progress, printable } from "../index.ts";
import { Bars } from "./bars.ts";
import { formatBytes } from "./format.ts";
import {
	chooseView,
	doneOf,
	type ProgressView,
	Speed,
} from "./progress-view.ts";
import type { Terminal } from "./terminal.ts";

/**
 * Shows how far a merge is: a bar on a terminal, a line for each shard elsewhere, nothing when quiet.
 *
 * @param bars  where others are shown too
 */
export function openProgress(
	terminal: Terminal,
	bars = new Bars(terminal),
): ProgressView<Progress> {
	return chooseView(
		terminal,
		() => new BarView(bars),
		() => new LineView(terminal),
	);
}

class BarView implements ProgressView<Progress> {
	private readonly bars: Bars;
	private bar: SingleBar | null = null;
	private speed: Speed | null = null;

	constructor(bars: Bars) {
		this.bars = bars;
	}

	update(progress: Progress): void {
		const { writtenBytes, totalBytes, shardIndex, shardCount } = progress;
		this.speed ??= new Speed(writtenBytes);
		const text = {
			done: doneOf(writtenBytes, totalBytes),
			rate: this.speed.at(writtenBytes),
			name: `merged, shard ${shardIndex + 1}/${shardCount}`,
		};
		this.bar ??= this.bars.create(totalBytes, writtenBytes, text);
		this.bar.update(writtenBytes, text);
	}

	stop(): void {
		this.bars.stop();
	}
}

class LineView implements ProgressView<Progress> {
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
