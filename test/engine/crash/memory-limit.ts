import {
	existsSync,
	mkdirSync,
	readFileSync,
	rmdirSync,
	writeFileSync,
} from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";

/** A group of processes that may have so much memory, page cache and all. */
export interface MemoryLimit {
	/** a command behind it is in the group */
	wrapper: string[];
	set(byteLength: number): Promise<void>;
	/** Be rid of the group, and of whoever is in it still. */
	close(): Promise<void>;
}

const NAME = `merge-delta-test-${process.pid}`;
/** Where Linux keeps such groups, in its two versions, and how the limit's file is called. */
const VERSIONS = [
	{ root: "/sys/fs/cgroup/memory", limit: "memory.limit_in_bytes" },
	{ root: "/sys/fs/cgroup", limit: "memory.max" },
];

/** Why no such group can be made here, or null where it can. */
export function whyNoMemoryLimit(): string | null {
	const group = tryToMake();
	if (group === null) return "the right to limit memory is missing";
	rmdirSync(group.folder);
	return null;
}

export async function openMemoryLimit(
	byteLength: number,
): Promise<MemoryLimit> {
	const group = tryToMake();
	if (group === null) throw new Error("no memory limit can be set here");
	const { folder, limit } = group;
	const program = `echo $$ > ${folder}/cgroup.procs; exec "$@"`;
	const opened: MemoryLimit = {
		wrapper: ["sh", "-c", program, "sh"],
		set: async (bytes) =>
			writeFileSync(path.join(folder, limit), String(bytes)),
		close: async () => {
			while (killAll(folder)) await setTimeout(10);
			rmdirSync(folder);
		},
	};
	await opened.set(byteLength).catch(async (error) => {
		await opened.close();
		throw error;
	});
	return opened;
}

/** @returns whether there was anybody in a group */
function killAll(folder: string): boolean {
	const text = readFileSync(path.join(folder, "cgroup.procs"), "utf8");
	const pids = text.split("\n").map(Number).filter(Boolean);
	for (const pid of pids)
		try {
			process.kill(pid, "SIGKILL");
		} catch {
			// gone meanwhile
		}
	return pids.length > 0;
}

function tryToMake(): { folder: string; limit: string } | null {
	for (const { root, limit } of VERSIONS) {
		const folder = path.join(root, NAME);
		try {
			mkdirSync(folder);
		} catch {
			continue;
		}
		if (existsSync(path.join(folder, limit))) return { folder, limit };
		rmdirSync(folder);
	}
	return null;
}
