import { type MergeOptions, merge, printable } from "../index.ts";
import { Bars } from "./bars.ts";
import { openFetchProgress } from "./fetch-progress.ts";
import { formatBytes, plural } from "./format.ts";
import {
	atRevisions,
	type HubFlags,
	hubChoices,
	type SideRevisions,
} from "./hub-flags.ts";
import { tellPerformance } from "./performance.ts";
import { openProgress } from "./progress.ts";
import { tellResume } from "./resume.ts";
import type { Terminal } from "./terminal.ts";

export async function mergeCommand(
	options: MergeOptions & HubFlags & SideRevisions,
	terminal: Terminal,
	signal: AbortSignal,
): Promise<number> {
	const bars = new Bars(terminal);
	const progress = openProgress(terminal, bars);
	const fetching = openFetchProgress(terminal, bars);
	const started = performance.now();
	const { base, delta } = await atRevisions(options);
	const { out, convention, dtype, changes } = options;
	const { allowNonFinite, expectSum } = options;
	const { kernel, threads, memory, directIo, inputSums } = options;
	const { overwrite, resume, keepStaging, syncBytes } = options;
	const { allowUnlikely, noStore, expect, baseSha256, deltaSha256 } = options;
	const {
		manifest,
		resumed,
		warnings,
		performance: used,
	} = await merge({
		...{ base, delta, out, convention, dtype, changes, expectSum },
		...{
			allowNonFinite,
			allowUnlikely,
			noStore,
			expect,
			baseSha256,
			deltaSha256,
		},
		...{ kernel, threads, memory, directIo, inputSums },
		...{ overwrite, resume, keepStaging, syncBytes },
		...hubChoices(options, terminal),
		signal,
		onFetch: (at) => fetching.update(at),
		onResume: (found) => tellResume(found, terminal),
		onProgress: (at) => progress.update(at),
	}).finally(() => bars.stop());
	const seconds = (performance.now() - started) / 1000;
	for (const warning of warnings) terminal.warn(warning);
	const bytes = manifest.outputs.reduce((sum, f) => sum + f.byteLength, 0);
	terminal.result(
		`${terminal.paint("green", "merged")} ${printable(out)}: ${plural(manifest.outputs.length, "file")}, ${formatBytes(bytes)} in ${seconds.toFixed(1)} s (${formatBytes(bytes / seconds)}/s)`,
	);
	terminal.note(
		`convention ${manifest.convention}: ${manifest.sums.join(", ")}`,
	);
	if (terminal.options.verbose) tellPerformance(used, terminal);
	terminal.note(`check it at any time: merge-delta verify ${printable(out)}`);
	terminal.document({
		...{ ok: true, out, manifest, resumed, warnings, performance: used },
	});
	return 0;
}
