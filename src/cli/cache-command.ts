import {
	type CacheOptions,
	type CacheVerifyOptions,
	cache,
	printable,
	type VerifiedBlob,
	verifyCache,
} from "../index.ts";
import { formatBytes, formatTable, plural } from "./format.ts";
import type { Terminal } from "./terminal.ts";
import { annotateFile, tellFile } from "./verify-command.ts";

export async function cacheCommand(
	{ cacheDir, repo }: CacheOptions,
	terminal: Terminal,
): Promise<number> {
	const report = await cache({ cacheDir, repo });
	for (const { repository, byteLength, ...rest } of report.repositories) {
		terminal.result(
			`${terminal.paint("bold", printable(repository))}  ${formatBytes(byteLength)}`,
		);
		const rows = rest.snapshots.map((snapshot) => [
			`  ${snapshot.commit}`,
			plural(snapshot.files.length, "file"),
			formatBytes(snapshot.byteLength),
			printable(snapshot.revisions.join(", ")),
		]);
		for (const row of formatTable(rows, new Set([1, 2]))) terminal.result(row);
		const broken = rest.snapshots.flatMap((snapshot) => snapshot.broken);
		if (broken.length > 0)
			terminal.result(`  ${plural(broken.length, "file")} without a blob`);
		const left = rest.incomplete.reduce((sum, f) => sum + f.byteLength, 0);
		if (rest.incomplete.length > 0)
			terminal.result(
				`  ${plural(rest.incomplete.length, "incomplete download")}, ${formatBytes(left)}`,
			);
	}
	const count = report.repositories.length;
	terminal.result(
		`${count === 1 ? "1 model" : `${count} models`}, ${formatBytes(report.byteLength)} in ${printable(report.cacheDir)}`,
	);
	terminal.document({ ok: true, ...report });
	return 0;
}

export async function cacheVerifyCommand(
	options: CacheVerifyOptions,
	terminal: Terminal,
	signal: AbortSignal,
): Promise<number> {
	const { cacheDir, repo, threads, memory, directIo } = options;
	const report = await verifyCache({
		...{ cacheDir, repo, threads, memory, directIo, signal },
		onFile: (file) => tellFile(file, terminal),
	});
	for (const warning of report.warnings) terminal.warn(warning);
	const failed = report.files.filter(({ status }) => status !== "OK");
	for (const blob of failed) {
		annotateFile("not verified", blob.file, blob, terminal);
		terminal.note(remedyFor(blob));
	}
	terminal.result(
		report.ok
			? `${terminal.paint("green", "verified")} ${plural(report.files.length, "file")} in ${printable(report.cacheDir)}`
			: `${terminal.paint("red", "not verified")} ${printable(report.cacheDir)}: ${plural(failed.length, "file")} of ${report.files.length} failed`,
	);
	terminal.document({ ...report });
	return report.ok ? 0 : 1;
}

function remedyFor({ status, repository, file }: VerifiedBlob): string {
	const again = `merge-delta fetch ${printable(repository)}`;
	return status === "MISSING"
		? `fetch it again: ${again}`
		: `delete ${printable(file)} and fetch it again: ${again}`;
}
