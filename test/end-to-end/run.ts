import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { PassThrough } from "node:stream";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { main } from "../../src/cli/main.ts";

export const FIXTURES = fileURLToPath(
	new URL("../../fixtures", import.meta.url),
);

/** The built command. */
export const BIN = fileURLToPath(
	new URL("../../dist/bin/merge-delta.cjs", import.meta.url),
);

export interface Run {
	exitCode: number;
	stdout: string;
	stderr: string;
}

/** Run the command line in this process. */
export async function run(...args: string[]): Promise<Run> {
	const [stdout, stderr] = [new PassThrough(), new PassThrough()];
	const text = { stdout: "", stderr: "" };
	stdout.on("data", (bytes) => (text.stdout += bytes));
	stderr.on("data", (bytes) => (text.stderr += bytes));
	const exitCode = await main(args, { stdout, stderr });
	return { exitCode, ...text };
}

/**
 * Run the command as somebody whom permissions hold. For the superuser, whom they do not, without the powers to pass
 * over them where the system can take those away: another user might not get as far as to the program.
 */
export function runHeldByPermissions(...args: string[]) {
	const command = [process.execPath, BIN, ...args];
	const spawn = ([program = "", ...rest]: string[], options = {}) =>
		spawnSync(program, rest, { ...options, encoding: "utf8" });
	if (process.getuid?.() !== 0) return spawn(command);
	const held = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
	return spawn([...held, "true"]).status === 0
		? spawn([...held, ...command])
		: spawn(command, { uid: 65534, gid: 65534 });
}

/** A new folder that goes away with the test. */
export async function scratchFolder(within = tmpdir()): Promise<string> {
	const folder = await mkdtemp(path.join(within, "merge-delta-"));
	onTestFinished(() => rm(folder, { recursive: true, force: true }));
	return folder;
}

/** The same in memory where that can be: hundreds of small merges would wait for their syncs. */
export function memoryFolder(): Promise<string> {
	const isThere = existsSync(MEMORY);
	return scratchFolder(isThere ? MEMORY : tmpdir());
}

const MEMORY = "/dev/shm";
