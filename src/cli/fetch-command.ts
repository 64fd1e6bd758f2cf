import { fetch, printable } from "../index.ts";
import { openFetchProgress } from "./fetch-progress.ts";
import { formatBytes, formatTable, plural } from "./format.ts";
import { type HubFlags, hubChoices, joinRevision } from "./hub-flags.ts";
import type { Terminal } from "./terminal.ts";

export async function fetchCommand(
	args: { repo: string; revision?: string | undefined } & HubFlags,
	terminal: Terminal,
	signal: AbortSignal,
): Promise<number> {
	const repo = joinRevision(args.repo, args.revision, "--revision");
	const progress = openFetchProgress(terminal);
	const fetched = await fetch({
		...hubChoices(args, terminal).hub,
		...{ repo, signal },
		onProgress: (at) => progress.update(at),
	}).finally(() => progress.stop());
	const { repository, commit, folder, files } = fetched;
	const rows = files.map(({ path, byteLength, sha256, wasCached }) => [
		`  ${printable(path)}`,
		formatBytes(byteLength),
		wasCached ? "was there" : "fetched",
		sha256 ?? "",
	]);
	for (const row of formatTable(rows, new Set([1]))) terminal.result(row);
	const bytes = files.reduce((sum, file) => sum + file.byteLength, 0);
	terminal.result(
		`${terminal.paint("green", "fetched")} ${repository}@${commit}: ${plural(files.length, "file")}, ${formatBytes(bytes)} in ${printable(folder)}`,
	);
	terminal.document({ ok: true, ...fetched });
	return 0;
}
