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
		...[count(row.different), "of", count(row.elements)],
		row.maxUlp === null ? "" : count(row.maxUlp),
		...[row.dtype, printable(row.tensor)],
	]);
	const heads = ["different", "", "elements", "ulp", "dtype", "tensor"];
	const [head = "", ...lines] = formatTable(
		rows.length > 0 ? [heads, ...rows] : [],
		new Set([0, 2, 3]),
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

function summarise(report: CompareReport, terminal: Terminal): string {
	const { same, different, otherType, onlyInA, onlyInB, totals } = report;
	const compared = `${plural(totals.tensors, "tensor")}, ${plural(totals.elements, "element")}`;
	if (same) return `${terminal.paint("green", "same")} ${compared}`;
	const found = [
		`${different.length.toLocaleString("en")} of ${compared}`,
		...(totals.different > 0
			? [
					`${plural(totals.different, "element")} differ${totals.different === 1 ? "s" : ""}, by ${totals.maxUlp.toLocaleString("en")} ulp at most`,
				]
			: []),
		...(otherType.length > 0 ? [`${otherType.length} of another type`] : []),
		...(onlyInA.length > 0 ? [`${onlyInA.length} only in A`] : []),
		...(onlyInB.length > 0 ? [`${onlyInB.length} only in B`] : []),
	];
	return `${terminal.paint("red", "different")} ${found.join("; ")}`;
}
