import { type MergeOptions, type MergeReport, printable } from "../index.ts";
import { Bars } from "./bars.ts";
import { openFetchProgress } from "./fetch-progress.ts";
import { formatBytes, plural } from "./format.ts";
import { openProgress } from "./progress.ts";
import { tellResume } from "./resume.ts";
import type { Terminal } from "./terminal.ts";

/**
 * Show how far a new folder is while it is made, and in the end what has become of it.
 *
 * @param done  the word for that
 */
export async function showMaking<R extends MergeReport>(
	done: string,
	terminal: Terminal,
	make: (
		hooks: Pick<MergeOptions, "onResume" | "onFetch" | "onProgress">,
	) => Promise<R>,
): Promise<R> {
	const bars = new Bars(terminal);
	const progress = openProgress(terminal, bars);
	const fetching = openFetchProgress(terminal, bars);
	const started = performance.now();
	const report = await make({
		onResume: (found) => tellResume(found, terminal),
		onFetch: (at) => fetching.update(at),
		onProgress: (at) => progress.update(at),
	}).finally(() => bars.stop());
	const seconds = (performance.now() - started) / 1000;
	for (const warning of report.warnings) terminal.warn(warning);
	const { outputs } = report.manifest;
	const bytes = outputs.reduce((sum, f) => sum + f.byteLength, 0);
	terminal.result(
		`${terminal.paint("green", done)} ${printable(report.out)}: ${plural(outputs.length, "file")}, ${formatBytes(bytes)} in ${seconds.toFixed(1)} s (${formatBytes(bytes / seconds)}/s)`,
	);
	return report;
}
