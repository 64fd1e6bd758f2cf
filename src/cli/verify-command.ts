import path from "node:path";
import type { Argv } from "yargs";
import {
	CHECKSUM_ALGORITHMS,
	type ChecksumAlgorithm,
	printable,
	toldName,
	type VerifiedFile,
	type VerifiedTensor,
	type VerifyOptions,
	type VerifyReport,
	verify,
} from "../index.ts";
import { openFetchProgress } from "./fetch-progress.ts";
import { plural } from "./format.ts";
import { atRevision, type HubFlags, hubChoices } from "./hub-flags.ts";
import { engineOptions, hubOptions, REVISION } from "./options.ts";
import type { Terminal } from "./terminal.ts";

/** As `sha256sum -c` words it. */
const WORDS: Record<VerifiedFile["status"], string> = {
	OK: "OK",
	FAILED: "FAILED",
	MISSING: "FAILED open or read",
	UNREADABLE: "FAILED open or read",
};

const TENSOR_WORDS: Record<VerifiedTensor["status"], string> = {
	OK: "OK",
	FAILED: "FAILED",
	MISSING: "FAILED, not there",
};

export function verifyOptions<T>(y: Argv<T>) {
	return engineOptions(hubOptions(y))
		.positional("dir", {
			type: "string",
			demandOption: true,
			describe: "a folder or org/name[@revision]; for --tensors also a file",
		})
		.option("revision", REVISION)
		.option("expect", {
			type: "string",
			requiresArg: true,
			describe:
				"checksums or merge-delta.json to match; default: the folder's own",
		})
		.option("algorithm", {
			choices: Object.keys(CHECKSUM_ALGORITHMS) as ChecksumAlgorithm[],
			default: "sha256" as const,
			describe: "of the checksums; md5 for lists of old releases",
		})
		.option("tensors", {
			type: "string",
			requiresArg: true,
			describe: "list of tensors by inspect --digests --json to match instead",
		})
		.option("allow-extra", {
			type: "boolean",
			default: false,
			describe: "accept what is not listed",
		});
}

export async function verifyCommand(
	args: VerifyOptions &
		HubFlags & { dir: string; revision?: string | undefined },
	terminal: Terminal,
	signal: AbortSignal,
): Promise<number> {
	const dir = await atRevision(args.dir, args.revision, "--revision");
	const { expect, algorithm, tensors, allowExtra } = args;
	const { threads, memory, directIo } = args;
	const fetching = openFetchProgress(terminal);
	const report = await verify(dir, {
		...{ expect, algorithm, tensors, allowExtra },
		...{ threads, memory, directIo, signal },
		...hubChoices(args, terminal),
		onFetch: (at) => fetching.update(at),
		onFile: (file) => {
			fetching.stop();
			tellFile(file, terminal);
		},
		onTensor: (tensor) => {
			fetching.stop();
			tellTensor(tensor, terminal);
		},
	}).finally(() => fetching.stop());
	for (const warning of report.warnings) terminal.warn(warning);
	for (const problem of report.problems)
		terminal.result(`${terminal.paint("red", "FAILED")} ${printable(problem)}`);
	annotateFailures(report, terminal);
	terminal.result(summarise(dir, report, terminal));
	terminal.document({ ...report });
	return report.ok ? 0 : 1;
}

export function tellFile(
	{ fileName, status }: VerifiedFile,
	terminal: Terminal,
): void {
	tellStatus(toldName(fileName), WORDS[status], terminal);
}

function tellTensor({ tensor, status }: VerifiedTensor, terminal: Terminal) {
	tellStatus(`tensor ${tensor}`, TENSOR_WORDS[status], terminal);
}

function tellStatus(what: string, word: string, terminal: Terminal): void {
	if (word === "OK" && terminal.options.quiet) return;
	const color = word === "OK" ? "green" : "red";
	terminal.result(`${printable(what)}: ${terminal.paint(color, word)}`);
}

function annotateFailures(report: VerifyReport, terminal: Terminal): void {
	const { folder, files, tensors, problems } = report;
	const level = "error";
	const title = `not verified: ${folder}`;
	for (const each of files)
		if (each.status !== "OK")
			annotateFile(title, path.join(folder, each.fileName), each, terminal);
	for (const { tensor, status, expected, found } of tensors)
		if (status !== "OK")
			terminal.annotate({
				...{ level, title },
				lines: [
					`tensor ${tensor}: ${TENSOR_WORDS[status]}`,
					...told(expected, found),
				],
			});
	for (const problem of problems)
		terminal.annotate({ level, title, lines: [problem] });
}

/** Show a file that failed. @param file  where it is */
export function annotateFile(
	title: string,
	file: string,
	{ fileName, status, expected, found }: VerifiedFile,
	terminal: Terminal,
): void {
	terminal.annotate({
		...{ level: "error", title, file },
		lines: [`${fileName}: ${WORDS[status]}`, ...told(expected, found)],
	});
}

function told(expected: string, found: string | null): string[] {
	return [
		...(expected === "" ? [] : [`expected ${expected}`]),
		...(found === null ? [] : [`found ${found}`]),
	];
}

function summarise(
	target: string,
	report: VerifyReport,
	terminal: Terminal,
): string {
	const { ok, files, tensors, problems, uncheckedSignatures } = report;
	const all = [...files, ...tensors];
	const failed = all.filter(({ status }) => status !== "OK").length;
	const counts = [
		...(files.length > 0 ? [plural(files.length, "file")] : []),
		...(tensors.length > 0 ? [plural(tensors.length, "tensor")] : []),
		...(report.structureAgrees ? ["index, shards and headers agree"] : []),
	];
	const name = printable(target);
	const text = ok
		? `${terminal.paint("green", "verified")} ${name}: ${counts.join(", ")}`
		: `${terminal.paint("red", "not verified")} ${name}: ${failed} of ${all.length} failed, ${plural(problems.length, "other problem")}`;
	return uncheckedSignatures.length === 0
		? text
		: `${text}; signatures were not checked: ${printable(uncheckedSignatures.join(", "))}`;
}
