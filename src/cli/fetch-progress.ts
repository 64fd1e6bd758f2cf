import { MultiBar, type SingleBar } from "cli-progress";
import { type DownloadProgress, printable } from "../index.ts";
import { formatBytes } from "./format.ts";
import type { Terminal } from "./terminal.ts";

/** Shows how far a download is. */
export interface FetchProgressView {
	update(progress: DownloadProgress): void;
	/** leave the terminal as it should be, also after a failure; any number of times */
	stop(): void;
}

/** Bars on a terminal, a line for each file elsewhere, nothing when quiet. */
export function openFetchProgress(terminal: Terminal): FetchProgressView {
	if (terminal.options.quiet) return { update() {}, stop() {} };
	return terminal.streams.stderr.isTTY
		? new BarsView(terminal)
		: new LinesView(terminal);
}

const BAR = "{bar} {percentage}% {done} {rate} {eta_formatted} {name}";
/** Of an estimate, by the bytes of so many updates. */
const ETA_UPDATES = 500;

/** A bar for all bytes, and below it one for each file on its way. */
class BarsView implements FetchProgressView {
	private readonly terminal: Terminal;
	private readonly files = new Map<string, SingleBar>();
	private bars: MultiBar | null = null;
	private total: SingleBar | null = null;
	private started = 0;
	private startBytes = 0;

	constructor(terminal: Terminal) {
		this.terminal = terminal;
	}

	update(progress: DownloadProgress): void {
		const { fileBytes, fileTotalBytes, bytes, totalBytes } = progress;
		if (bytes === totalBytes && this.bars === null) return; // all was there
		this.bars ??= this.open(progress);
		this.total ??= this.bars.create(totalBytes, bytes, { name: "all" });
		const seconds = (performance.now() - this.started) / 1000;
		const speed = seconds > 0 ? (bytes - this.startBytes) / seconds : 0;
		const rate = `${formatBytes(speed)}/s`;
		this.total.update(bytes, { ...ratio(bytes, totalBytes), rate });
		const key = `${progress.repository}/${progress.path}`;
		let bar = this.files.get(key);
		if (fileBytes < fileTotalBytes) {
			const name = printable(key);
			bar ??= this.bars.create(fileTotalBytes, fileBytes, { name });
			this.files.set(key, bar);
			bar.update(fileBytes, { ...ratio(fileBytes, fileTotalBytes), rate: "" });
		} else if (bar !== undefined) {
			this.bars.remove(bar);
			this.files.delete(key);
		}
	}

	stop(): void {
		this.bars?.stop();
	}

	private open({ bytes }: DownloadProgress): MultiBar {
		[this.started, this.startBytes] = [performance.now(), bytes];
		return new MultiBar({
			stream: this.terminal.streams.stderr as NodeJS.WritableStream,
			...{ format: BAR, barsize: 24, hideCursor: true, emptyOnZero: true },
			...{ clearOnComplete: true, etaBuffer: ETA_UPDATES },
			gracefulExit: false, // signals are the command's business
		});
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
