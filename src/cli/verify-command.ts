import {
	printable,
	type VerifiedFile,
	type VerifyOptions,
	verify,
} from "../index.ts";
import { plural } from "./format.ts";
import type { Terminal } from "./terminal.ts";

/** As `sha256sum -c` words it. */
export const STATUS_WORDS: Record<VerifiedFile["status"], string> = {
	OK: "OK",
	FAILED: "FAILED",
	MISSING: "FAILED open or read",
	UNREADABLE: "FAILED open or read",
};

export async function verifyCommand(
	{
		dir,
		allowExtra,
		threads,
		memory,
		directIo,
	}: VerifyOptions & {
		dir: string;
	},
	terminal: Terminal,
	signal: AbortSignal,
): Promise<number> {
	const report = await verify(dir, {
		...{ allowExtra, threads, memory, directIo, signal },
		onFile: ({ fileName, status }) => {
			if (status === "OK" && terminal.options.quiet) return;
			const color = status === "OK" ? "green" : "red";
			terminal.result(
				`${printable(fileName)}: ${terminal.paint(color, STATUS_WORDS[status])}`,
			);
		},
	});
	for (const warning of report.warnings) terminal.warn(warning);
	for (const problem of report.problems)
		terminal.result(`${terminal.paint("red", "FAILED")} ${printable(problem)}`);
	const failed = report.files.filter(({ status }) => status !== "OK").length;
	terminal.result(
		report.ok
			? `${terminal.paint("green", "verified")} ${dir}: ${plural(report.files.length, "file")}, index, shards and headers agree`
			: `${terminal.paint("red", "not verified")} ${dir}: ${plural(failed, "file")} failed, ${plural(report.problems.length, "other problem")}`,
	);
	terminal.document({ ...report });
	return report.ok ? 0 : 1;
}
