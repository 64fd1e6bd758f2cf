import { spawnSync } from "node:child_process";
import {
	mkdir,
	mkdtemp,
	open,
	rename,
	rm,
	truncate,
	utimes,
	writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import {
	encodeHeader,
	headerBytes,
} from "../../../src/format/safetensors-writer.ts";
import { describeFolder, runCommand, startCommand } from "./command.ts";
import { openMemoryLimit, whyNoMemoryLimit } from "./memory-limit.ts";
import { RealMerge } from "./real-command.ts";
import { pauseMerge, whyNoStrace } from "./strace.ts";

/** The right to mount, or what of it is missing. */
function whyNoMount(...tools: string[]): string | null {
	if (process.platform !== "linux") return "Linux is missing";
	const missing = tools.find((tool) => spawnSync(tool, ["--version"]).error);
	if (missing) return `${missing} is missing`;
	const { status } = spawnSync("unshare", [
		"-m",
		"mount",
		"-t",
		"tmpfs",
		"tmpfs",
		"/mnt",
	]);
	return status === 0 ? null : "the right to mount is missing";
}

const isWindows = process.platform === "win32";
const why = {
	strace: whyNoStrace(),
	mount: whyNoMount(),
	ext4: whyNoStrace() ?? whyNoMount("mkfs.ext4", "losetup"),
	memory: whyNoMemoryLimit(),
};
for (const [what, reason] of Object.entries(why))
	if (reason !== null) console.warn(`limits not tried, ${what}: ${reason}`);

let merge: RealMerge;

beforeAll(async () => {
	const folder = await mkdtemp(path.join(tmpdir(), "merge-delta-"));
	merge = await RealMerge.open(folder);
	return () => rm(folder, { recursive: true });
}, 60_000);

function command(...args: string[]): void {
	const [file = "", ...rest] = args;
	const { status, stderr } = spawnSync(file, rest);
	if (status !== 0) throw new Error(`${args.join(" ")}: ${stderr}`);
}

/** Mount something at the folder of an output, until the test ends. */
async function mountAt(folder: string, ...args: string[]): Promise<void> {
	command("mount", ...args, folder);
	onTestFinished(() => command("umount", folder));
}

test.skipIf(why.mount !== null)(
	"cases 143, 166: on a disk of any size it is done, or says that it is full and goes on when it is not",
	async () => {
		const said = new Set<string>();
		let [exitCode, wentOn] = [6, 0];
		for (let pages = 1; exitCode !== 0; pages++) {
			const out = await merge.newOutput();
			await mountAt(
				path.dirname(out),
				"-t",
				"tmpfs",
				"-o",
				`size=${pages * 4096}`,
				"tmpfs",
			);
			const first = await merge.again(out);
			exitCode = first.exitCode;
			if (exitCode !== 0) {
				expect(exitCode, first.stderr).toBe(6);
				const [, what = first.stderr] =
					/(not enough space|\w+ failed \(ENOSPC\))/.exec(first.stderr) ?? [];
				said.add(what);
				command("mount", "-o", "remount,size=1m", path.dirname(out));
			}
			const { resumedBytes } = await merge.goOn(out, "");
			if (resumedBytes > 0) wentOn++;
			expect(pages).toBeLessThan(100);
		}
		expect([...said].sort()).toEqual([
			"not enough space",
			"writing failed (ENOSPC)",
		]);
		expect(wentOn).toBeGreaterThan(2);
	},
);

/** A shell that sets a limit and becomes the command. */
function withLimit(limit: string): string[] {
	return ["sh", "-c", `${limit}; exec "$@"`, "sh"];
}

test.skipIf(isWindows).each([1, 8, 16, 20])(
	"case 145: a limit of %i blocks for each file is a failure of the machine",
	async (blocks) => {
		const out = await merge.newOutput();
		const limit = withLimit(`ulimit -f ${blocks}`);
		const { code, stderr } = await runCommand(merge.args(out), limit);
		expect(code, stderr).toBe(6);
		expect(stderr).toMatch(/failed \(EFBIG\)\. .*ulimit -f/);
		await merge.goOn(out, "");
	},
);

test.skipIf(isWindows)(
	"case 151: with any number of open files it is done, or says what failed",
	async () => {
		const codes = new Set<number | null>();
		for (let files = 20; !codes.has(0); files += 8) {
			const out = await merge.newOutput();
			const limit = withLimit(`ulimit -n ${files}`);
			const { code, stderr } = await runCommand(merge.args(out), limit);
			codes.add(code);
			expect([0, 6], `${files}: ${stderr}`).toContain(code);
			if (code !== 0) expect(stderr).toMatch(/^error .+\n( {2}.+\n)?$/);
			await merge.goOn(out, "");
			expect(files).toBeLessThan(400);
		}
		expect([...codes]).toEqual([6, 0]);
	},
	120_000,
);

test.skipIf(isWindows).each([
	["closed", ">&- 2>&- <&-", 0],
	["full", "> /dev/full", 6],
	["full for errors", "2> /dev/full", 6],
	["closed after a line", "| true", 141],
] as const)(
	"case 158: where what it says goes is %s, it finishes its work",
	async (_, redirected, expectedCode) => {
		if (!redirected.includes("full") || process.platform === "linux") {
			const out = await merge.newOutput();
			const program = redirected.startsWith("|")
				? `{ "$@"; echo $? >&2; } ${redirected}`
				: `exec "$@" ${redirected}`;
			const args = merge.args(out).filter((arg) => arg !== "--quiet");
			const { code, stderr } = await runCommand(args, [
				"sh",
				"-c",
				program,
				"sh",
			]);
			if (redirected.startsWith("|"))
				expect(stderr).toContain(`${expectedCode}\n`);
			else expect(code, stderr).toBe(expectedCode);
			expect(await describeFolder(path.dirname(out))).toBe(merge.expected);
		}
	},
);

describe.skipIf(why.strace !== null)(
	"while it is stopped in the middle",
	() => {
		test("nothing happens, and it goes on", async () => {
			const out = await merge.newOutput();
			const { goOn } = await pauseMerge(merge, out, 9);
			expect((await goOn()).code).toBe(0);
			expect(await describeFolder(path.dirname(out))).toBe(merge.expected);
		});

		test("case 163: another to the same output is refused, and so is one that would replace it", async () => {
			const out = await merge.newOutput();
			const first = await pauseMerge(merge, out, 9);
			for (const more of [[], ["--overwrite"], ["--no-resume"]]) {
				const { code, stderr } = await runCommand(merge.args(out, ...more));
				expect(code).toBe(8);
				expect(stderr).toContain(`in use by process ${first.child.pid} on`);
			}
			expect((await first.goOn()).code).toBe(0);
			expect(await describeFolder(path.dirname(out))).toBe(merge.expected);
		});

		test.each([
			[
				"replaced by a copy",
				async (file: string) => {
					command("cp", file, `${file}.copy`);
					await rename(`${file}.copy`, file);
				},
			],
			["touched", (file: string) => utimes(file, 1, 1)],
			["shortened", (file: string) => truncate(file, 5000)],
			[
				"written to",
				async (file: string) => {
					const handle = await open(file, "r+");
					await handle.write("x", 3000);
					await handle.close();
				},
			],
		])(
			"case 165: an input is %s",
			async (how, change) => {
				const folder = await mkdtemp(path.join(tmpdir(), "merge-delta-"));
				onTestFinished(() => rm(folder, { recursive: true }));
				const other = await RealMerge.open(folder);
				const out = await other.newOutput();
				const { goOn } = await pauseMerge(other, out, 6);
				await change(path.join(other.base, "model-00002-of-00002.safetensors"));
				const { code, stderr } = await goOn();
				expect(code, `${how}: ${stderr}`).toBe(7);
				expect(stderr).toMatch(
					/the file (changed while it was read|ends early)/,
				);
				expect(await describeFolder(path.dirname(out))).toBe("");
			},
			60_000,
		);

		test("case 167: its staging folder is deleted, or only what is in it", async () => {
			for (const inside of [
				"",
				"/*",
				"/merged.*",
				"/journal",
				"/plan.json",
				"/owner.json",
			]) {
				const out = await merge.newOutput();
				const { goOn } = await pauseMerge(merge, out, 9);
				command("sh", "-c", `rm -r ${out}.merge-delta${inside}`);
				const { code, stderr } = await goOn();
				expect([0, 6], `${inside}: ${stderr}`).toContain(code);
				await merge.goOn(out, "");
			}
		}, 60_000);

		test.each([
			["SIGINT", 130],
			["SIGTERM", 143],
		] as const)(
			"case 157: %s ends it, a second one at once, and it is gone on with",
			async (signal, expectedCode) => {
				for (const times of [1, 2]) {
					const out = await merge.newOutput();
					const paused = await pauseMerge(merge, out, 9);
					for (let i = 0; i < times; i++) paused.child.kill(signal);
					const { code } = await paused.goOn();
					expect(code).toBe(expectedCode);
					expect((await merge.goOn(out, "")).resumedBytes).toBeGreaterThan(0);
				}
			},
			60_000,
		);

		test.skipIf(why.ext4 !== null)(
			"case 152: its file system becomes read-only",
			async () => {
				const out = await merge.newOutput();
				const parent = path.dirname(out);
				const image = `${parent}.ext4`;
				await writeFile(image, "");
				await truncate(image, 8 * 2 ** 20);
				// A folder that mkfs makes is no file of the merge.
				command("mkfs.ext4", "-q", image);
				command("mount", "-o", "loop", image, parent);
				await rm(path.join(parent, "lost+found"), { recursive: true });
				const { goOn } = await pauseMerge(merge, out, 9);
				command("mount", "-o", "remount,abort", parent);
				const { code, stderr } = await goOn();
				command("umount", parent);
				expect(code).toBe(6);
				expect(stderr).toMatch(/failed \((EROFS|EIO)\)\. /);
				await mountAt(parent, "-o", "loop", image);
				await merge.goOn(out, "");
			},
		);
	},
);

test("case 163: of two that start at once, one makes the output", async () => {
	for (let round = 0; round < 3; round++) {
		const out = await merge.newOutput();
		const both = [startCommand(merge.args(out)), startCommand(merge.args(out))];
		const ended = await Promise.all(both.map((each) => each.ended));
		const codes = ended.map(({ code }) => code).sort();
		expect(codes[0], ended[0]?.stderr).toBe(0);
		expect([0, 6, 8], ended[1]?.stderr).toContain(codes[1]);
		await merge.goOn(out, "");
	}
}, 60_000);

describe.skipIf(why.memory !== null)("with little memory", () => {
	const LIMIT_BYTES = 2 ** 28;

	test("case 159: a model larger than the memory is merged, and one killed for want of it is gone on with", async () => {
		const folder = await mkdtemp(path.join(tmpdir(), "merge-delta-"));
		onTestFinished(() => rm(folder, { recursive: true }));
		const [base, delta] = await writeSparseModels(folder, 1.25 * LIMIT_BYTES);
		const args = (out: string) => [
			...["--base", base, "--delta", delta, "--out", path.join(folder, out)],
			...[
				"--convention",
				"add",
				"--allow-unlikely",
				"--quiet",
				"--sync-bytes",
				"64MiB",
			],
		];
		const limit = await openMemoryLimit(LIMIT_BYTES);
		onTestFinished(() => limit.close());
		const { code, stderr } = await runCommand(args("out"), limit.wrapper);
		expect(code, stderr).toBe(0);
		const sums = await describeFolder(path.join(folder, "out"));
		await rm(path.join(folder, "out"), { recursive: true });
		await limit.set(2 ** 26);
		const killed = await runCommand(args("out"), limit.wrapper);
		expect(killed.code).not.toBe(0);
		const again = await runCommand(args("out"));
		expect(again.code, again.stderr).toBe(0);
		expect(await describeFolder(path.join(folder, "out"))).toBe(sums);
	}, 300_000);
});

/** A base and a delta of zeros that take no space. */
async function writeSparseModels(folder: string, byteLength: number) {
	const columns = 2 ** 12;
	const shape = [Math.floor(byteLength / 2 / 4 / columns), columns];
	const tensors = ["a", "b", "c", "d"].map((name) => ({
		...{ name: `${name}.weight`, dtype: "F16" as const, shape },
	}));
	const sides = ["base", "delta"].map((side) => path.join(folder, side));
	for (const side of sides) {
		await mkdir(side);
		const file = path.join(side, "model.safetensors");
		const header = encodeHeader(tensors, null, file);
		await writeFile(file, headerBytes(header.json));
		await truncate(
			file,
			header.byteLength + (header.tensors.at(-1)?.dataOffsets[1] ?? 0),
		);
	}
	return sides as [string, string];
}
