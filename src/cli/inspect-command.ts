import { formatShape, inspect, printable } from "../index.ts";
import { formatBytes, formatTable, plural } from "./format.ts";
import { atRevision, type HubFlags, hubChoices } from "./hub-flags.ts";
import type { Terminal } from "./terminal.ts";

export async function inspectCommand(
	args: { src: string; revision?: string | undefined } & HubFlags,
	terminal: Terminal,
	signal: AbortSignal,
): Promise<number> {
	const src = atRevision(args.src, args.revision, "--revision");
	const report = await inspect(src, {
		...hubChoices(args, terminal),
		signal,
	});
	for (const warning of report.warnings) terminal.warn(warning);
	const rows = report.tensors.map(({ name, dtype, shape, byteLength }) => [
		printable(name) || '""',
		dtype,
		formatShape(shape),
		formatBytes(byteLength),
	]);
	const table = formatTable(
		[["tensor", "dtype", "shape", "bytes"], ...rows],
		new Set([3]),
	);
	terminal.result(terminal.paint("bold", table[0] ?? ""));
	for (const row of table.slice(1)) terminal.result(row);
	terminal.result("");
	const dtypes = report.dtypes
		.map(({ dtype, tensors }) => `${dtype} × ${tensors}`)
		.join(", ");
	const { totals, shards } = report;
	terminal.result(
		`${plural(totals.tensors, "tensor")} (${dtypes}), ${plural(totals.elements, "parameter")}, ${formatBytes(totals.byteLength)} in ${plural(shards.length, "shard")}`,
	);
	terminal.document({ ok: true, ...report });
	return 0;
}
