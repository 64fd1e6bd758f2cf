import { type Options, SingleBar } from "cli-progress";
import { type Progress, printable } from "../index.ts";
import { formatBytes } from "./format.ts";
import type { Terminal } from "./terminal.ts";

/** Shows how far a merge is. */
export interface ProgressView {
	update(progress: Progress): void;
	/** leave the terminal as it should be, also after a failure */
	stop(): void;
}

/** A bar on a terminal, a line for each shard elsewhere, nothing when quiet. */
export function openProgress(terminal: Terminal): ProgressView {
	if (terminal.options.quiet) return { update() {}, stop() {} };
	return terminal.streams.stderr.isTTY
		? new BarView(terminal)
		: new LineView(terminal);
}

class BarView implements ProgressView {
	private readonly bar: SingleBar;
	private started = 0;
	/** of an earlier run, or before the first was told */
	private startBytes = 0;

	constructor({ streams }: Terminal) {
		const options: Options = {
			stream: streams.stderr as NodeJS.WritableStream,
			format: "{bar} {percentage}% {done} {rate} {eta_formatted} {shard}",
			barsize: 24,
			hideCursor: true,
			clearOnComplete: true,
			emptyOnZero: true,
			gracefulExit: false, // signals are the command's business
		};
		this.bar = new SingleBar(options);
	}

	update(progress: Progress): void {
		const seconds = (performance.now() - this.started) / 1000;
		const written = progress.writtenBytes - this.startBytes;
		const payload = {
			done: `${formatBytes(progress.writtenBytes)}/${formatBytes(progress.totalBytes)}`,
			rate: `${formatBytes(this.started ? written / seconds : 0)}/s`,
			shard: `${progress.shardIndex + 1}/${progress.shardCount}`,
		};
		if (this.started === 0) {
			this.started = performance.now();
			this.startBytes = progress.writtenBytes;
			this.bar.start(progress.totalBytes, progress.writtenBytes, payload);
		} else this.bar.update(progress.writtenBytes, payload);
	}

	stop(): void {
		this.bar.stop();
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
