import type { Argv } from "yargs";
import {
	type CompareOptions,
	type CompareReport,
	compare,
	formatShape,
	printable,
} from "../index.ts";
import { openFetchProgress } from "./fetch-progress.ts";
import { formatTable, plural } from "./format.ts";
import { type HubFlags, hubChoices } from "./hub-flags.ts";
import { engineOptions, hubOptions } from "./options.ts";
import type { Terminal } from "./terminal.ts";

export function compareOptions<T>(y: Argv<T>) {
	const model = {
		type: "string",
		demandOption: true,
		describe: "a folder, a weight file, or org/name[@revision]",
	} as const;
	return engineOptions(hubOptions(y))
		.positional("a", model)
		.positional("b", model);
}

export async function compareCommand(
	args: { a: string; b: string } & HubFlags & CompareOptions,
	terminal: Terminal,
	signal: AbortSignal,
): Promise<number> {
	const { a, b, threads, memory, directIo } = args;
	const fetching = openFetchProgress(terminal);
	const report = await compare(a, b, {
		...{ threads, memory, directIo, signal },
		...hubChoices(args, terminal),
		onFetch: (at) => fetching.update(at),
	}).finally(() => fetching.stop());
	for (const warning of report.warnings) terminal.warn(warning);
	for (const line of tableOf(report, terminal)) terminal.result(line);
	terminal.result(summarise(report, terminal));
	terminal.document({ ok: report.same, ...report });
	return report.same ? 0 : 1;
}

/** Names come last: they are as long as they like. */
function tableOf(report: CompareReport, terminal: Terminal): string[] {
	const { different, otherType, onlyInA, onlyInB } = report;
	const count = (value: number) => value.toLocaleString("en");
	const rows = different.map((row) => [
		...[count(row.different), shareOf(row.different, row.elements)],
		row.maxUlp === null ? "" : count(row.maxUlp),
		printable(row.tensor),
	]);
	const [head = "", ...lines] = formatTable(
		rows.length > 0 ? [["different", "share", "ulp", "tensor"], ...rows] : [],
		new Set([0, 1, 2]),
	);
	const type = (t: { dtype: string; shape: readonly number[] }) =>
		`${t.dtype} ${formatShape(t.shape)}`;
	return [
		...(head === "" ? [] : [terminal.paint("bold", head), ...lines]),
		...otherType.map(
			({ tensor, a, b }) =>
				`${printable(tensor)}: ${type(a)} in A, ${type(b)} in B`,
		),
		...onlyInA.map(
			(each) => `only in A: ${printable(each.tensor)} ${type(each)}`,
		),
		...onlyInB.map(
			(each) => `only in B: ${printable(each.tensor)} ${type(each)}`,
		),
	];
}

/** In percent: 0 and 100 are what they say. */
function shareOf(part: number, all: number): string {
	const percent = (100 * part) / all;
	if (part > 0 && percent < 0.1) return "< 0.1 %";
	if (part < all && percent > 99.9) return "> 99.9 %";
	return `${percent.toFixed(part === all ? 0 : 1)} %`;
}

function summarise(report: CompareReport, terminal: Terminal): string {
	const { same, different, otherType, onlyInA, onlyInB, totals } = report;
	const elements = plural(totals.elements, "element");
	const tensors = plural(totals.tensors, "tensor");
	if (same) return `${terminal.paint("green", "same")} ${tensors}, ${elements}`;
	const count = (value: number) => value.toLocaleString("en");
	const found = [
		`${count(different.length)} of ${tensors}, ${count(totals.different)} of ${elements}, by at most ${count(totals.maxUlp)} ulp`,
		...(otherType.length > 0 ? [`${otherType.length} of another type`] : []),
		...(onlyInA.length > 0 ? [`${onlyInA.length} only in A`] : []),
		...(onlyInB.length > 0 ? [`${onlyInB.length} only in B`] : []),
	];
	return `${terminal.paint("red", "different")} ${found.join("; ")}`;
}
