import { type ChildProcess, spawnSync } from "node:child_process";
import { readFileSync, watch } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";
import { onTestFinished } from "vitest";
import { thisProcess } from "../../../src/io/owner.ts";
import { mergedName } from "../../../src/io/take-over.ts";
import { type Ended, startCommand } from "./command.ts";
import type { RealMerge } from "./real-command.ts";

/** System calls that change what is on the disk, or open it. */
export const WRITING_CALLS = [
	...["openat", "pwrite64", "write", "fdatasync", "fsync", "ftruncate"],
	...["rename", "unlink", "mkdir", "rmdir", "linkat"],
];

/** Why no command can be traced here, or null where it can. */
export function whyNoStrace(): string | null {
	if (process.platform !== "linux") return "Linux is missing";
	const args = [
		"-D",
		"-f",
		"--seccomp-bpf",
		"-o",
		"/dev/null",
		"-e",
		"inject=chdir:error=EIO",
	];
	const { error, status } = spawnSync("strace", [...args, "true"]);
	if (error) return "strace is missing";
	return status === 0 ? null : "the right to trace is missing";
}

/** How often each call was made. */
export type Counts = ReadonlyMap<string, number>;

export interface Tracing {
	calls: readonly string[];
	/** paths beside those of the output */
	paths?: readonly string[] | undefined;
	/** as strace's `-e inject=` has it, counted over the calls that are traced */
	inject?: string | undefined;
}

/** Run a merge with those of its system calls traced that reach its output, all of which one thread makes. */
export async function traceMerge(
	merge: RealMerge,
	out: string,
	tracing: Tracing,
	args = merge.args(out),
): Promise<Ended & { counts: Counts }> {
	const { ended, log } = await startTraced(merge, out, tracing, args);
	const result = await ended;
	const text = await readFile(log, "utf8");
	await rm(log);
	return { ...result, counts: countCalls(text) };
}

/** Start the same. @returns where strace writes, too */
export async function startTraced(
	merge: RealMerge,
	out: string,
	{ calls, paths = [], inject }: Tracing,
	args = merge.args(out),
) {
	const log = `${path.dirname(out)}.strace`;
	await writeFile(log, ""); // so that it can be watched
	const strace = [
		...["-D", "-f", "-o", log, "-e", `trace=${calls.join(",")}`],
		...(inject === undefined ? [] : ["-e", `inject=${inject}`]),
		// Sooner, because no other call stops the process; but signals do not arrive then.
		...(inject?.includes("signal=") ? [] : ["--seccomp-bpf"]),
	];
	// The shell becomes the command, so what the command will call its files is known before it starts.
	const program = 'read -r paths; exec strace $paths "$@"';
	const { child, ended } = startCommand(
		...([args, ["sh", "-c", program, "sh", ...strace]] as const),
		{ UV_THREADPOOL_SIZE: "1" },
	);
	const merged = mergedName({
		...{ ...(await thisProcess()), host: hostname() },
		pid: child.pid as number,
		startTime: await startTimeOf(child.pid as number),
	});
	const all = [...outputPaths(merge, out, merged), ...paths];
	child.stdin.end(`${all.map((each) => `-P ${each}`).join(" ")}\n`);
	return { child, ended, log };
}

/** All paths that a merge may touch. */
function outputPaths(merge: RealMerge, out: string, merged: string): string[] {
	const root = `${out}.merge-delta`;
	const notes = [
		"owner.json",
		"journal",
		"plan.json",
		"journal.tmp",
		"plan.json.tmp",
	];
	const names = merge.outputNames.flatMap((name) => [
		name,
		`${name}.merge-delta-part`,
	]);
	const old = `${out}.old-${merge.planId.slice(0, 16)}`;
	return [
		...[path.dirname(out), root, ...notes.map((name) => path.join(root, name))],
		...[out, old, path.join(root, merged)].flatMap((folder) => [
			...[folder, path.join(folder, "mine")],
			...names.map((name) => path.join(folder, name)),
		]),
	];
}

async function startTimeOf(pid: number): Promise<string> {
	const text = await readFile(`/proc/${pid}/stat`, "utf8");
	return text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}

function countCalls(log: string): Counts {
	const counts = new Map<string, number>();
	for (const [, call = ""] of log.matchAll(/^\d+ +(\w+)\(/gm))
		counts.set(call, (counts.get(call) ?? 0) + 1);
	return counts;
}

/** A merge that is stopped, until it is told to go on. */
export interface PausedMerge {
	child: ChildProcess;
	ended: Promise<Ended>;
	goOn(): Promise<Ended>;
}

/** Start a merge and stop it at its k-th write to the output. */
export async function pauseMerge(
	merge: RealMerge,
	out: string,
	k: number,
	args?: string[],
): Promise<PausedMerge> {
	const inject = `pwrite64:signal=SIGSTOP:when=${k}`;
	const tracing = { calls: ["pwrite64"], inject };
	const { child, ended, log } = await startTraced(merge, out, tracing, args);
	onTestFinished(() => {
		child.kill("SIGKILL"); // where the test did not come to its end
	});
	await waitForText(log, "stopped by SIGSTOP");
	const goOn = async () => {
		child.kill("SIGCONT");
		const result = await ended;
		await rm(log);
		return result;
	};
	return { child, ended, goOn };
}

function waitForText(file: string, text: string): Promise<void> {
	return new Promise((resolve) => {
		const look = () => {
			if (!readFileSync(file, "utf8").includes(text)) return;
			watcher.close();
			resolve();
		};
		const watcher = watch(file, look);
		look(); // it may have come before
	});
}
