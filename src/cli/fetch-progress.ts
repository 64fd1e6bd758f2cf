import type { SingleBar } from "cli-progress";
import { type DownloadProgress, printable } from "../index.ts";
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
 * Shows how far a download is: bars on a terminal, a line for each file elsewhere, nothing when quiet.
 *
 * @param bars  where others are shown too
 */
export function openFetchProgress(
	terminal: Terminal,
	bars = new Bars(terminal),
): ProgressView<DownloadProgress> {
	return chooseView(
		terminal,
		() => new BarsView(bars),
		() => new LinesView(terminal),
	);
}

/** A bar for all bytes, and below it one for each file on its way. */
class BarsView implements ProgressView<DownloadProgress> {
	private readonly bars: Bars;
	private readonly files = new Map<string, SingleBar>();
	private total: SingleBar | null = null;
	private speed: Speed | null = null;

	constructor(bars: Bars) {
		this.bars = bars;
	}

	update(progress: DownloadProgress): void {
		const { fileBytes, fileTotalBytes, bytes, totalBytes } = progress;
		if (bytes === totalBytes && this.total === null) return; // all was there
		this.speed ??= new Speed(bytes);
		const all = {
			done: doneOf(bytes, totalBytes),
			rate: this.speed.at(bytes),
			name: "all",
		};
		this.total ??= this.bars.create(totalBytes, bytes, all);
		this.total.update(bytes, all);
		const key = `${progress.repository}/${progress.path}`;
		const text = { done: doneOf(fileBytes, fileTotalBytes), rate: "" };
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

class LinesView implements ProgressView<DownloadProgress> {
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
