import {
	BYTE_SCHEMES,
	type PlanInputs,
	type PlanReport,
	plan,
	printable,
	sumsOf,
} from "../index.ts";
import { formatBytes, formatDuration, formatTable, plural } from "./format.ts";
import {
	atRevisions,
	type HubFlags,
	hubChoices,
	type SideRevisions,
} from "./hub-flags.ts";
import { planChoicesOf } from "./options.ts";
import type { Terminal } from "./terminal.ts";

export async function planCommand(
	inputs: PlanInputs & HubFlags & SideRevisions,
	terminal: Terminal,
	signal: AbortSignal,
): Promise<number> {
	const { base, delta } = await atRevisions(inputs);
	const report = await plan({
		...{ base, delta },
		...planChoicesOf(inputs),
		...hubChoices(inputs, terminal),
		signal,
	});
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
	tellFetch(report, terminal);
	terminal.result(`${terminal.paint("bold", "plan id")} ${report.planId}`);
	terminal.document({ ok: true, ...report });
	return 0;
}

/** Lines of 80 Mbit/s and of a server: too little was read to tell how fast this one is. */
const LINE_SPEEDS = [10e6, 100e6];

/** What comes from the Hub, how long that takes, and what is on disk in the end. */
function tellFetch(
	{ fetch, writeBytes }: PlanReport,
	terminal: Terminal,
): void {
	if (fetch.cacheDir === null) return;
	const { files, byteLength, passingBytes, cachedBytes, cacheDir } = fetch;
	const stored = byteLength - passingBytes;
	const how =
		passingBytes === 0 ? "" : `, ${formatBytes(passingBytes)} not stored`;
	terminal.result(
		`${terminal.paint("bold", "fetch")} ${plural(files, "file")}, ${formatBytes(byteLength)}${how}; ${formatBytes(cachedBytes)} in the cache`,
	);
	if (byteLength > 0)
		terminal.result(
			`${terminal.paint("bold", "time")} ${LINE_SPEEDS.map((speed) => `${formatDuration(byteLength / speed)} at ${formatBytes(speed)}/s`).join(", ")}, and the merge goes on meanwhile`,
		);
	terminal.result(
		`${terminal.paint("bold", "disk")} ${formatBytes(stored)} in ${printable(cacheDir)}, ${formatBytes(writeBytes)} for the output`,
	);
}
