import {
	BYTE_SCHEMES,
	type PlanInputs,
	plan,
	printable,
	sumsOf,
} from "../index.ts";
import { openFetchProgress } from "./fetch-progress.ts";
import { formatBytes, formatTable, plural } from "./format.ts";
import {
	atRevisions,
	type HubFlags,
	hubChoices,
	type SideRevisions,
} from "./hub-flags.ts";
import type { Terminal } from "./terminal.ts";

export async function planCommand(
	inputs: PlanInputs & HubFlags & SideRevisions,
	terminal: Terminal,
	signal: AbortSignal,
): Promise<number> {
	const { base, delta } = atRevisions(inputs);
	const { convention, dtype, allowUnlikely } = inputs;
	const { changes, expectSum } = inputs;
	const fetching = openFetchProgress(terminal);
	const report = await plan({
		...{ base, delta, convention, dtype, changes, expectSum, allowUnlikely },
		...hubChoices(inputs, terminal),
		signal,
		onFetch: (at) => fetching.update(at),
	}).finally(() => fetching.stop());
	for (const warning of report.warnings) terminal.warn(warning);
	const { shards, sideFiles, totals, convention: id } = report.plan;
	const bytes = shards.reduce((sum, { byteLength }) => sum + byteLength, 0);
	terminal.result(`${terminal.paint("bold", "convention")} ${id}`);
	terminal.result(
		`${terminal.paint("bold", "sum")} ${sumsOf(report.plan).join(", ")}`,
	);
	terminal.result(
		Object.hasOwn(BYTE_SCHEMES, id)
			? `${terminal.paint("bold", "output")} ${formatBytes(bytes)} in ${plural(shards.length, "file")}`
			: `${terminal.paint("bold", "output")} ${plural(totals.tensors, "tensor")}, ${plural(totals.elements, "parameter")}, ${formatBytes(bytes)} in ${plural(shards.length, "shard")}`,
	);
	const rows = shards.map(({ fileName, byteLength, header, segments }) => [
		`  ${printable(fileName)}`,
		header === null
			? [...new Set(segments.map(({ op }) => op))].join(", ")
			: plural(segments.length, "tensor"),
		formatBytes(byteLength),
	]);
	for (const row of formatTable(rows, new Set([1, 2]))) terminal.result(row);
	for (const { fileName, from } of sideFiles)
		terminal.result(`  ${printable(fileName)} from ${from}`);
	terminal.result(`${terminal.paint("bold", "plan id")} ${report.planId}`);
	terminal.document({ ok: true, ...report });
	return 0;
}
