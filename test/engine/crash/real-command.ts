import { mkdir, mkdtemp, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { expect } from "vitest";
import { run } from "../../end-to-end/run.ts";
import { describeFolder, runCommand } from "./command.ts";
import { writeTinyModels } from "./tiny-merge.ts";

/** A merge of a few dozen kilobytes by the command itself, whose shards are claimed in several pieces. */
export class RealMerge {
	readonly base: string;
	readonly delta: string;
	/** what stands in an output's parent afterwards, as {@link describeFolder} has it */
	expected = "";
	planId = "";
	private readonly folder: string;

	private constructor(folder: string, base: string, delta: string) {
		this.folder = folder;
		this.base = base;
		this.delta = delta;
	}

	/** @param folder  empty, for all that is read and written */
	static async open(folder: string): Promise<RealMerge> {
		const { base, delta } = await writeTinyModels(folder);
		const merge = new RealMerge(folder, base, delta);
		const out = await merge.newOutput();
		const { code, stderr } = await runCommand(merge.args(out));
		if (code !== 0) throw new Error(stderr);
		merge.expected = await describeFolder(path.dirname(out));
		const manifest = await readFile(path.join(out, "merge-delta.json"), "utf8");
		merge.planId = JSON.parse(manifest).planId;
		return merge;
	}

	/** A place for an output, alone in its parent. */
	async newOutput(): Promise<string> {
		return path.join(await mkdtemp(path.join(this.folder, "run-")), "out");
	}

	/** The names of all files of the output. */
	get outputNames(): string[] {
		return this.expected
			.split("\n")
			.flatMap((line) => /^out\/(\S+) /.exec(line)?.[1] ?? []);
	}

	args(out: string, ...more: string[]): string[] {
		return [
			...["--base", this.base, "--delta", this.delta, "--out", out],
			...["--convention", "fastchat-v0", "--allow-non-finite", "--quiet"],
			...["--sync-bytes", "8192", ...more],
		];
	}

	/** Give the same command again, in this process, where it starts sooner. @returns bytes it did not make again */
	async again(out: string, ...more: string[]) {
		const args = this.args(out, ...more, "--json");
		const { exitCode, stdout, stderr } = await run(...args);
		const { resumed } = JSON.parse(stdout);
		return { exitCode, stderr, resumedBytes: resumed?.byteLength ?? 0 };
	}

	/**
	 * Look at what a run has left that came to no good end, its whole output or none (or, where it was to replace
	 * a folder, one of the two), and give the same command again, which must end with the same bytes.
	 *
	 * @param about  what was done to it, for messages
	 */
	async goOn(out: string, about: string, ...more: string[]) {
		const parent = path.dirname(out);
		const left = await describeFolder(parent);
		const where = `${about}\n${left}`;
		const lines = left.split("\n").filter((line) => /^out\//.test(line));
		const isThere = lines.join("\n") === this.expected;
		const isOld = /^out(\.old-\w+)?\/mine 8 /m.test(left);
		const replaces = more.includes("--overwrite");
		if (!isThere)
			expect(replaces ? isOld : lines.length === 0, where).toBe(true);
		const again = await this.again(out, ...more);
		if (left !== this.expected || again.exitCode !== 8)
			expect(again.exitCode, `${where}\n${again.stderr}`).toBe(0);
		expect(await describeFolder(parent), where).toBe(this.expected);
		return { isThere, resumedBytes: again.resumedBytes };
	}
}

/** A folder that stands where an output is to be. */
export async function makeOldOutput(out: string): Promise<void> {
	await mkdir(out);
	await writeFile(path.join(out, "mine"), "precious");
}
