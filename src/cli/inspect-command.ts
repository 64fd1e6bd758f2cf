import type { Argv } from "yargs";
import {
	formatShape,
	type InspectOptions,
	inspect,
	printable,
} from "../index.ts";
import { openFetchProgress } from "./fetch-progress.ts";
import { formatBytes, formatTable, plural } from "./format.ts";
import { atRevision, type HubFlags, hubChoices } from "./hub-flags.ts";
import { engineOptions, hubOptions, REVISION } from "./options.ts";
import type { Terminal } from "./terminal.ts";

export function inspectOptions<T>(y: Argv<T>) {
	return engineOptions(hubOptions(y))
		.positional("src", {
			type: "string",
			demandOption: true,
			describe: "a folder, a weight file, or org/name[@revision]",
		})
		.option("revision", REVISION)
		.option("digests", {
			type: "boolean",
			default: false,
			describe: "take the SHA-256 of every tensor, for verify --tensors",
		});
}

export async function inspectCommand(
	args: { src: string; revision?: string | undefined } & HubFlags &
		InspectOptions,
	terminal: Terminal,
	signal: AbortSignal,
): Promise<number> {
	const src = await atRevision(args.src, args.revision, "--revision");
	const fetching = openFetchProgress(terminal);
	const { digests, threads, memory, directIo } = args;
	const report = await inspect(src, {
		...{ digests, threads, memory, directIo },
		...hubChoices(args, terminal),
		signal,
		onFetch: (at) => fetching.update(at),
	}).finally(() => fetching.stop());
	for (const warning of report.warnings) terminal.warn(warning);
	const rows = report.tensors.map((tensor) => [
		printable(tensor.name) || '""',
		tensor.dtype,
		formatShape(tensor.shape),
		formatBytes(tensor.byteLength),
		tensor.sha256 ?? "",
	]);
	const heads = ["tensor", "dtype", "shape", "bytes", digests ? "SHA-256" : ""];
	const table = formatTable([heads, ...rows], new Set([3]));
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
