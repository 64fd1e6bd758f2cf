import type { SingleBar } from "cli-progress";
import { type DownloadProgress, printable } from "../index.ts";
import { Bars } from "./bars.ts";
import { formatBytes } from "./format.ts";
import type { Terminal } from "./terminal.ts";

/** Shows how far a download is. */
export interface FetchProgressView {
	update(progress: DownloadProgress): void;
	/** leave the terminal as it should be, also after a failure; any number of times */
	stop(): void;
}

/**
 * Bars on a terminal, a line for each file elsewhere, nothing when quiet.
 *
 * @param bars  where others are shown too
 */
export function openFetchProgress(
	terminal: Terminal,
	bars = new Bars(terminal),
): FetchProgressView {
	if (terminal.options.quiet) return { update() {}, stop() {} };
	return terminal.streams.stderr.isTTY
		? new BarsView(bars)
		: new LinesView(terminal);
}

/** A bar for all bytes, and below it one for each file on its way. */
class BarsView implements FetchProgressView {
	private readonly bars: Bars;
	private readonly files = new Map<string, SingleBar>();
	private total: SingleBar | null = null;
	private started = 0;
	private startBytes = 0;

	constructor(bars: Bars) {
		this.bars = bars;
	}

	update(progress: DownloadProgress): void {
		const { fileBytes, fileTotalBytes, bytes, totalBytes } = progress;
		if (bytes === totalBytes && this.total === null) return; // all was there
		const done = ratio(bytes, totalBytes);
		if (this.total === null) {
			[this.started, this.startBytes] = [performance.now(), bytes];
			const text = { ...done, rate: "", name: "all" };
			this.total = this.bars.create(totalBytes, bytes, text);
		}
		const seconds = (performance.now() - this.started) / 1000;
		const speed = seconds > 0 ? (bytes - this.startBytes) / seconds : 0;
		const rate = `${formatBytes(speed)}/s`;
		this.total.update(bytes, { ...done, rate });
		const key = `${progress.repository}/${progress.path}`;
		const text = { ...ratio(fileBytes, fileTotalBytes), rate: "" };
		let bar = this.files.get(key);
		if (fileBytes < fileTotalBytes) {
			const name = printable(key);
			bar ??= this.bars.create(fileTotalBytes, fileBytes, { ...text, name });
			this.files.set(key, bar);
			bar.update(fileBytes, text);
		} else if (bar !== undefined) {
			this.bars.remove(bar);
			this.files.delete(key);
		}
	}

	stop(): void {
		this.bars.stop();
	}
}

function ratio(bytes: number, totalBytes: number): { done: string } {
	return { done: `${formatBytes(bytes)}/${formatBytes(totalBytes)}` };
}

class LinesView implements FetchProgressView {
	private readonly terminal: Terminal;
	private readonly begun = new Set<string>();

	constructor(terminal: Terminal) {
		this.terminal = terminal;
	}

	/** What was there already comes whole at once, and is not told. */
	update(progress: DownloadProgress): void {
		const { repository, path, fileBytes, fileTotalBytes } = progress;
		const key = `${repository}/${path}`;
		if (fileBytes < fileTotalBytes) this.begun.add(key);
		else if (this.begun.delete(key))
			this.terminal.note(
				`${printable(key)} ${formatBytes(fileTotalBytes)} (${formatBytes(progress.bytes)} of ${formatBytes(progress.totalBytes)})`,
			);
	}

	stop(): void {}
}
