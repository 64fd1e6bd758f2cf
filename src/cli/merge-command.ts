import { type MergeOptions, merge } from "../index.ts";
import { formatBytes, plural } from "./format.ts";
import { openProgress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

export async function mergeCommand(
	options: MergeOptions,
	terminal: Terminal,
	signal: AbortSignal,
): Promise<number> {
	const progress = openProgress(terminal);
	const started = performance.now();
	const { base, delta, out, convention, dtype, allowNonFinite } = options;
	const { manifest, warnings } = await merge({
		...{ base, delta, out, convention, dtype, allowNonFinite },
		signal,
		onProgress: (at) => progress.update(at),
	}).finally(() => progress.stop());
	const seconds = (performance.now() - started) / 1000;
	for (const warning of warnings) terminal.warn(warning);
	const bytes = manifest.outputs.reduce((sum, f) => sum + f.byteLength, 0);
	terminal.result(
		`${terminal.paint("green", "merged")} ${out}: ${plural(manifest.outputs.length, "file")}, ${formatBytes(bytes)} in ${seconds.toFixed(1)} s (${formatBytes(bytes / seconds)}/s)`,
	);
	terminal.note(
		`convention ${manifest.convention}: ${manifest.sums.join(", ")}`,
	);
	terminal.note(`check it at any time: merge-delta verify ${out}`);
	terminal.document({ ok: true, out, manifest, warnings });
	return 0;
}
