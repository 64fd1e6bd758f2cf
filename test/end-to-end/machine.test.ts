import { spawnSync } from "node:child_process";
import {
	appendFileSync,
	copyFileSync,
	openSync,
	renameSync,
	truncateSync,
	utimesSync,
	writeSync,
} from "node:fs";
import {
	cp,
	mkdir,
	open,
	readdir,
	readFile,
	rm,
	truncate,
	utimes,
	writeFile,
} from "node:fs/promises";
import path from "node:path";
import { describe, expect, test, vi } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.ts";
import { exitCodeOf } from "../../src/cli/exit-code.ts";
import { merge } from "../../src/index.ts";
import { OpenFile } from "../../src/io/direct-io.ts";
import { BIN, FIXTURES, run, scratchFolder } from "./run.ts";

// Commands take long on a busy machine; none waits for a time to pass.
vi.setConfig({ testTimeout: 60_000 });

const LLAMA = path.join(FIXTURES, "llama-f16");
const SIDES = ["base", "delta"].flatMap((side) => [
	...[`--${side}`, path.join(LLAMA, side)],
]);
const posix = test.skipIf(process.platform === "win32");

/** Run a line of bash, in which `"$@"` is the command with these arguments; only one that hangs takes a minute. */
function bash(line: string, ...args: string[]) {
	const command = ["bash", process.execPath, BIN, ...args];
	return spawnSync("bash", ["-c", line, ...command], {
		...{ encoding: "utf8", timeout: 60_000, killSignal: "SIGKILL" },
	});
}

/** In front of a command: a program that Node runs before it. */
function before(program: string): string {
	const module = encodeURIComponent(program).replaceAll("'", "%27");
	return `NODE_OPTIONS='--import="data:text/javascript,${module}"'`;
}

/** How many files must be open that Node runs a program which does nothing. */
async function leastOpenFiles(): Promise<number> {
	const program = path.join(await scratchFolder(), "nothing.cjs");
	await writeFile(program, "");
	for (let limit = 10; ; limit++) {
		const line = `ulimit -c 0 -n ${limit}; exec "$0" '${program}'`;
		const { status } = spawnSync("bash", ["-c", line, process.execPath]);
		if (status === 0) return limit;
		expect(limit).toBeLessThan(100);
	}
}

async function outFolder(): Promise<string> {
	return path.join(await scratchFolder(), "out");
}

/** A model with one tensor whose data is a hole: it takes no space. @returns the folder */
async function writeSparse(elements: number): Promise<string> {
	const folder = await scratchFolder();
	const bytes = elements * 2;
	const json = Buffer.from(
		`{"w":{"dtype":"F16","shape":[${elements}],"data_offsets":[0,${bytes}]}}`,
	);
	const length = Buffer.alloc(8);
	length.writeBigUInt64LE(BigInt(json.length));
	const file = path.join(folder, "model.safetensors");
	await writeFile(file, Buffer.concat([length, json]));
	await truncate(file, 8 + json.length + bytes);
	return folder;
}

/** Long ago, so that every change shows in the times, however coarse they are. */
const PAST = new Date("2020-01-01T00:00:00Z");

describe("an input that does not stay as it was", () => {
	const CHANGES: [what: string, change: (file: string) => void][] = [
		[
			"replaced",
			(file) => {
				copyFileSync(file, `${file}.new`);
				renameSync(`${file}.new`, file);
			},
		],
		[
			"changed in place",
			(file) => writeSync(openSync(file, "r+"), Uint8Array.of(1), 0, 1, 200),
		],
		["touched", (file) => utimesSync(file, PAST, new Date())],
		["cut", (file) => truncateSync(file, 300)],
		["lengthened", (file) => appendFileSync(file, "more")],
	];
	const MODELS = [
		["llama-f16", "model-00002-of-00003.safetensors"],
		["torch/merge", "pytorch_model-00001-of-00002.bin"],
	] as const;

	/** Merge copies; a file of one side changes as soon as there is a warning, or progress. */
	async function mergeWhile(
		[fixture, fileName]: readonly [string, string],
		when: "onWarning" | "onProgress",
		change: (file: string) => void,
	) {
		const folder = await scratchFolder();
		const [base, delta] = [
			path.join(folder, "base"),
			path.join(folder, "delta"),
		];
		await cp(path.join(FIXTURES, fixture), folder, { recursive: true });
		await rm(path.join(base, "config.json"), { force: true }); // of which a warning tells
		await rm(path.join(base, "generation_config.json"), { force: true });
		const file = path.join(base, fileName);
		await utimes(file, PAST, PAST);
		const out = await outFolder();
		let changes = 0;
		const merged = merge({
			...{ base, delta, out, convention: "add" },
			[when]: () => {
				if (changes++ === 0) change(file);
			},
		});
		const error = await merged.then(
			() => null,
			(failure: unknown) => failure,
		);
		expect(changes).toBeGreaterThan(0);
		expect(await readdir(path.dirname(out))).toEqual(error ? [] : ["out"]);
		return error;
	}

	describe.each(MODELS)("%s", (...model) => {
		test.each(CHANGES)(
			"case 165: %s after it was opened",
			async (_, change) => {
				const error = await mergeWhile(model, "onWarning", change);
				expect(exitCodeOf(error), String(error)).toBe(7);
			},
		);

		test.each(CHANGES)("case 165: %s after it was read", async (_, change) => {
			const error = await mergeWhile(model, "onProgress", change);
			expect(exitCodeOf(error), String(error)).toBe(7);
		});

		test("case 153: one that ends early says where", async () => {
			const error = await mergeWhile(model, "onWarning", (file) =>
				truncateSync(file, 300),
			);
			expect(String(error)).toContain(`${model[1]}, byte `);
			expect(String(error)).toContain("the file ends early");
			expect(exitCodeOf(error)).toBe(7);
		});
	});

	test("nothing changes where nothing does", async () => {
		for (const model of MODELS)
			expect(await mergeWhile(model, "onProgress", () => {})).toBe(null);
	});
});

describe("limits of the machine", () => {
	posix(
		"case 151: too many open files",
		async () => {
			const folder = await scratchFolder();
			const names = Array.from({ length: 200 }, (_, i) => `${i}`);
			const json = (name: string) =>
				Buffer.from(
					`{"${name}":{"dtype":"F16","shape":[0],"data_offsets":[0,0]}}`,
				);
			for (const name of names) {
				const length = Buffer.alloc(8);
				length.writeBigUInt64LE(BigInt(json(name).length));
				const file = path.join(folder, `${name}.safetensors`);
				await writeFile(file, Buffer.concat([length, json(name)]));
			}
			const weightMap = names.map((name) => `"${name}":"${name}.safetensors"`);
			await writeFile(
				path.join(folder, "model.safetensors.index.json"),
				`{"weight_map":{${weightMap.join(",")}}}`,
			);
			const out = await outFolder();
			const merging = ["--base", folder, "--delta", folder, "--out", out];
			const { status, stderr } = bash('ulimit -n 150; "$@"', ...merging);
			expect(stderr).toContain("opening failed (EMFILE). Too many open files");
			expect(status).toBe(6);
			// From the fewest on with which Node runs anything: first too few to load the program, then to open the shards.
			const least = await leastOpenFiles();
			for (let limit = least; limit < least + 45; limit += 5) {
				const few = bash(`ulimit -n ${limit}; "$@"`, ...merging);
				expect(few.status, `${limit}: ${few.stderr}`).toBe(6);
				expect(few.stderr).toMatch(
					/^error .+: (loading|opening) failed \(\w+\)\. .+\(ulimit -n\)\??\n$/,
				);
			}
			expect(await readdir(path.dirname(out))).toEqual([]);
		},
		120_000,
	);

	posix(
		"case 159: memory does not grow with the model",
		async (context) => {
			const elements = 150_000_000;
			const [base, delta] = [
				await writeSparse(elements),
				await writeSparse(elements),
			];
			const out = await outFolder();
			const merging = [
				...["--base", base, "--delta", delta, "--out", out],
				...["--convention", "add", "--allow-unlikely", "--memory", "48MB"],
			];
			const report = before(
				'process.on("exit", () => console.error("peak", process.resourceUsage().maxRSS))',
			);
			// In a group of 256 MB, files that are read and written included, where such a group can be made.
			const group = `/sys/fs/cgroup/memory/merge-delta-${process.pid}`;
			const limited = bash(
				`mkdir ${group} && echo 268435456 > ${group}/memory.limit_in_bytes`,
			);
			const enter = limited.status === 0 ? `echo $$ > ${group}/tasks; ` : "";
			const { status, stderr } = bash(`${enter}${report} "$@"`, ...merging);
			if (enter !== "") bash(`rmdir ${group}`);
			else await context.annotate(`not limited by a group: ${limited.stderr}`);
			expect(status, stderr).toBe(0);
			const peak = Number(/^peak (\d+)$/m.exec(stderr)?.[1]) * 1024;
			expect(peak).toBeGreaterThan(2 ** 25);
			expect(peak).toBeLessThan(256 * 2 ** 20);
		},
		120_000,
	);

	test("case 169: no transfer is longer than Node can take", async () => {
		const lengths: number[] = [];
		const handle = {} as ConstructorParameters<typeof OpenFile>[0];
		const bytes = new Uint8Array(2 ** 31 + 10); // never touched, so it takes no memory
		const moved = await new OpenFile(handle).transfer(
			...([2 ** 40, bytes] as const),
			async (_, part) => {
				lengths.push(part.length);
				return part.length;
			},
		);
		expect(moved).toBe(bytes.length);
		expect(Math.max(...lengths)).toBeLessThan(2 ** 31);
	});

	posix(
		"case 169: tensors and files beyond 4 GiB are read where they lie",
		async () => {
			const elements = 2 ** 32 + 5;
			const folder = await writeSparse(elements);
			const file = path.join(folder, "model.safetensors");
			const handle = await open(file, "r+");
			const { size } = await handle.stat();
			await handle.write(Uint8Array.of(0x34, 0x12), 0, 2, size - 2);
			await handle.close();
			const checkpoint = await openCheckpoint(folder);
			const w = checkpoint.tensors.get("w");
			expect(w?.byteLength).toBe(elements * 2);
			const last = new Uint8Array(2);
			const at = (w?.fileOffset ?? 0) + elements * 2 - 2;
			await checkpoint.shards[0]?.source.read(at, last);
			await checkpoint.close();
			expect([...last]).toEqual([0x34, 0x12]);
			const flags = ["--convention", "add", "--allow-unlikely", "--json"];
			const { stdout } = await run(
				"plan",
				"--base",
				folder,
				"--delta",
				folder,
				...flags,
			);
			expect(
				JSON.parse(stdout).totals ?? JSON.parse(stdout).plan?.totals,
			).toMatchObject({
				byteLength: elements * 2,
			});
		},
	);

	posix(
		"case 170: a file system without links and case, with short files",
		async (context) => {
			const scratch = await scratchFolder();
			const [image, mounted] = [
				path.join(scratch, "fat"),
				path.join(scratch, "m"),
			];
			await mkdir(mounted);
			const made = bash(
				`PATH=$PATH:/usr/sbin:/sbin; truncate -s 16M '${image}' && mkfs.vfat '${image}' && mount -o loop '${image}' '${mounted}'`,
			);
			if (made.status !== 0)
				return context.skip(`no FAT to be had: ${made.stderr}`);
			try {
				const out = path.join(mounted, "out");
				const merged = bash('"$@"', ...SIDES, "--out", out);
				expect(merged.status, merged.stderr).toBe(0);
				expect(bash('"$@"', "verify", out).status).toBe(0);
				expect(await readdir(mounted)).toEqual(["out"]);
				const again = bash(
					'"$@"',
					...SIDES,
					"--out",
					path.join(mounted, "OUT"),
				);
				expect(again.status).toBe(8);
			} finally {
				bash(`umount '${mounted}'`);
			}
		},
		60_000,
	);

	posix("case 170: files longer than a file system takes", async () => {
		const base = await writeSparse(2 ** 21);
		const out = await outFolder();
		const { status, stderr } = bash(
			`ulimit -f 1024; "$@"`,
			...["--base", base, "--delta", base, "--out", out],
			...["--convention", "add", "--allow-unlikely"],
		);
		expect(stderr).toContain("(EFBIG). The file system or a limit");
		expect(status).toBe(6);
		expect(await readdir(path.dirname(out))).toEqual([]);
	});
});

describe("what the command is given to speak with", () => {
	posix.each([
		["no input", '"$@" <&-', 0],
		["no terminal", '"$@" </dev/null >/dev/null 2>/dev/null', 0],
		["a closed output", '"$@" >&-', 0],
		["a closed error output", '"$@" 2>&-', 0],
		["nothing at all", '"$@" <&- >&- 2>&-', 0],
		["a reader that goes", 'set -o pipefail; "$@" | true', 141],
		["a reader of errors that goes", '"$@" 2> >(true)', 141],
	])("case 158: %s does not stop the merge", async (_, line, exitCode) => {
		const out = await outFolder();
		const { status } = bash(line, ...SIDES, "--out", out);
		// Whether a reader went before or after the last word is up to the machine.
		expect(status).toBeOneOf(exitCode === 0 ? [0] : [0, exitCode]);
		expect(bash('"$@"', "verify", out).status).toBe(0);
		expect(await readdir(path.dirname(out))).toEqual(["out"]);
	});

	test.skipIf(process.platform !== "linux")(
		"case 158: a full disk behind the output is a failure",
		async () => {
			const model = path.join(LLAMA, "base");
			const { status, stderr } = bash('"$@" >/dev/full', "inspect", model);
			expect(stderr).toBe("error standard output: writing failed (ENOSPC)\n");
			expect(status).toBe(6);
		},
	);
});

describe("a bug", () => {
	/** Happens as soon as the command has begun. */
	const bug = (what: string) =>
		`process.on("newListener", (name) => { if (name === "SIGTERM") ${what} })`;

	posix.each([
		["a promise that is rejected", 'Promise.reject(new Error("oh"))'],
		[
			"an error that is thrown",
			'setImmediate(() => { throw new Error("oh") })',
		],
		["something else that is thrown", 'Promise.reject("oh")'],
	])(
		"case 171: %s where nobody waits for it",
		async (_, what) => {
			const out = await outFolder();
			const line = `${before(bug(what))} "$@"`;
			const { status, stderr } = bash(line, ...SIDES, "--out", out);
			expect(stderr).toContain("a bug in merge-delta, please report it");
			expect(stderr).toContain("oh");
			expect(status).toBe(70);
			expect(await readdir(path.dirname(out))).not.toContain("out");
			const json = bash(line, ...SIDES, "--out", out, "--json");
			expect(JSON.parse(json.stdout)).toMatchObject({
				...{ ok: false, error: { code: "ERR_INTERNAL", exitCode: 70 } },
			});
			expect(bash('"$@"', ...SIDES, "--out", out).status).toBe(0);
			expect(await readFile(path.join(out, "SHA256SUMS"), "utf8")).not.toBe("");
		},
		60_000,
	);
});
