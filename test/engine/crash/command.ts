import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

const COMMAND = fileURLToPath(
	new URL("../../../dist/bin/merge-delta.cjs", import.meta.url),
);

/** What became of a process. */
export interface Ended {
	/** null where a signal ended it */
	code: number | null;
	stdout: string;
	stderr: string;
}

/** Run the command to its end. */
export function runCommand(
	args: readonly string[],
	wrapper: readonly string[] = [],
	env: NodeJS.ProcessEnv = {},
): Promise<Ended> {
	return startCommand(args, wrapper, env).ended;
}

/** Start the command. @param wrapper  what it is an argument of, as a shell that sets limits first */
export function startCommand(
	args: readonly string[],
	wrapper: readonly string[] = [],
	env: NodeJS.ProcessEnv = {},
) {
	const [file = "", ...rest] = [...wrapper, process.execPath, COMMAND, ...args];
	const child = spawn(file, rest, { env: { ...process.env, ...env } });
	const text = { stdout: "", stderr: "" };
	child.stdout.on("data", (bytes) => (text.stdout += bytes));
	child.stderr.on("data", (bytes) => (text.stderr += bytes));
	child.stdin.on("error", () => {}); // it may be gone before it has read
	const ended = new Promise<Ended>((resolve, reject) => {
		child.on("error", reject);
		child.on("close", (code) => resolve({ code, ...text }));
	});
	return { child, ended };
}

/** All files of a folder, as text that can be compared and shown: names, lengths, checksums. */
export async function describeFolder(folder: string): Promise<string> {
	const names = await readdir(folder, { recursive: true, withFileTypes: true });
	const lines = names.map(async (entry) => {
		const file = path.join(entry.parentPath, entry.name);
		const name = path.relative(folder, file);
		return entry.isFile() ? `${name} ${await describeFile(file)}` : `${name}/`;
	});
	return (await Promise.all(lines)).sort().join("\n");
}

async function describeFile(file: string): Promise<string> {
	const hash = createHash("sha256");
	let byteLength = 0;
	for await (const bytes of createReadStream(file)) {
		hash.update(bytes);
		byteLength += bytes.length;
	}
	return `${byteLength} ${hash.digest("hex")}`;
}
