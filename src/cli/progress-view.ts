import { formatBytes } from "./format.ts";
import type { Terminal } from "./terminal.ts";

/** Shows how far something is. */
export interface ProgressView<T> {
	update(progress: T): void;
	/** leave the terminal as it should be, also after a failure; any number of times */
	stop(): void;
}

/** What suits the terminal: bars on a screen, lines elsewhere, nothing when quiet. */
export function chooseView<T>(
	{ options, streams }: Terminal,
	bars: () => ProgressView<T>,
	lines: () => ProgressView<T>,
): ProgressView<T> {
	if (options.quiet) return { update() {}, stop() {} };
	return streams.stderr.isTTY ? bars() : lines();
}

/** How many of all bytes, as bars say it. */
export function doneOf(bytes: number, totalBytes: number): string {
	return `${formatBytes(bytes)}/${formatBytes(totalBytes)}`;
}

/** How fast bytes come; made when the first is told, as some may have been there. */
export class Speed {
	private readonly started = performance.now();
	private readonly startBytes: number;

	constructor(startBytes: number) {
		this.startBytes = startBytes;
	}

	/** With what has come by now. */
	at(bytes: number): string {
		const seconds = (performance.now() - this.started) / 1000;
		const speed = seconds > 0 ? (bytes - this.startBytes) / seconds : 0;
		return `${formatBytes(speed)}/s`;
	}
}
