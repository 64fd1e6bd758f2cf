import { readdir, readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { systemErrorCode } from "./system-error.ts";

/** Which process an output belongs to, told so that no other can be taken for it. */
export interface Owner {
	host: string;
	/** differs after each start of the machine; empty where it does not tell */
	bootId: string;
	pid: number;
	/** of the process, in the machine's own count; empty where it does not tell */
	startTime: string;
}

export async function thisProcess(): Promise<Owner> {
	const { pid } = process;
	return {
		host: hostname(),
		bootId: (await readLine("/proc/sys/kernel/random/boot_id")) ?? "",
		...{ pid, startTime: await startTimeOf(pid) },
	};
}

/** @returns null where the text is none of ours, such as one that was never made durable */
export function parseOwner(text: string): Owner | null {
	try {
		const owner = JSON.parse(text);
		const isOwner =
			Number.isSafeInteger(owner?.pid) &&
			owner.pid > 0 &&
			[owner.host, owner.bootId, owner.startTime].every(
				(each) => typeof each === "string",
			);
		return isOwner ? owner : null;
	} catch {
		return null;
	}
}

/** Whether a process may still be there; those of other machines may. */
export async function mayRun(owner: Owner, self: Owner): Promise<boolean> {
	if (owner.host !== self.host) return true;
	if (owner.bootId !== self.bootId) return false;
	if (!(await isRunning(owner.pid))) return false;
	return (await startTimeOf(owner.pid)) === owner.startTime;
}

/** Whether this machine has a process of this id that does anything, which may be another's by now. */
export async function isRunning(pid: number): Promise<boolean> {
	try {
		process.kill(pid, 0);
	} catch (error) {
		return systemErrorCode(error) !== "ESRCH";
	}
	return !(await isZombie(pid));
}

/** Whether all of a process has ended, and only its parent has not asked how: in many containers nobody does. */
async function isZombie(pid: number): Promise<boolean> {
	const [state = ""] = await statOf(pid);
	if (state !== "Z" && state !== "X") return false;
	const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
	return threads.length <= 1;
}

async function startTimeOf(pid: number): Promise<string> {
	return (await statOf(pid))[19] ?? "";
}

/** From the third field on: those before may hold anything up to the last parenthesis. None where the system has no such file. */
async function statOf(pid: number): Promise<string[]> {
	const text = await readLine(`/proc/${pid}/stat`);
	return text?.slice(text.lastIndexOf(")") + 2).split(" ") ?? [];
}

async function readLine(file: string): Promise<string | null> {
	return readFile(file, "utf8").then(
		(text) => text.trim(),
		() => null,
	);
}
