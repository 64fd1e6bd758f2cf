import {
	mkdir,
	readdir,
	readFile,
	rename,
	rm,
	symlink,
	writeFile,
} from "node:fs/promises";
import { Socket } from "node:net";
import path from "node:path";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { cleanEnvironment, DELTA, modelHub, TARGET } from "./model-hub.ts";
import { run, scratchFolder } from "./run.ts";

vi.setConfig({ testTimeout: 30_000 });

let folder: string;
beforeEach(async () => {
	folder = await cleanEnvironment();
});

const blobsOf = (repository: string) =>
	path.join(folder, `models--${repository.replace("/", "--")}`, "blobs");

async function fetched(...repositories: string[]) {
	const hub = await modelHub();
	for (const repository of repositories)
		expect((await run("fetch", repository)).exitCode).toBe(0);
	return hub;
}

/** The first blob of a kind: by SHA-256, or by git. */
async function blobOf(repository: string, oidLength: 40 | 64) {
	const names = await readdir(blobsOf(repository));
	const name = names.find(({ length }) => length === oidLength);
	return path.join(blobsOf(repository), name as string);
}

async function flipBit(file: string): Promise<void> {
	const bytes = await readFile(file);
	bytes[0] = (bytes[0] ?? 0) ^ 1;
	await writeFile(file, bytes);
}

describe("cache", () => {
	test("tells models, commits, revisions and sizes, in 80 columns", async () => {
		const hub = await fetched(DELTA, TARGET);
		const first = hub.commitOf(DELTA);
		const before = hub.commitOf(TARGET);
		const commit = await hub.commit(TARGET, {
			"model.safetensors": new Uint8Array(4000),
		});
		await run("fetch", TARGET);
		const { exitCode, stdout, stderr } = await run("cache");
		expect(exitCode, stderr).toBe(0);
		for (const line of stdout.split("\n"))
			if (!line.includes(folder)) expect(line.length).toBeLessThanOrEqual(80);
		expect(stdout).toMatch(/^lmsys\/vicuna-delta {2}\d+ kB\n/m);
		expect(stdout).toMatch(RegExp(`^  ${first}  8 files  \\d+ kB  main$`, "m"));
		expect(stdout).toMatch(
			RegExp(`^  ${commit}   1 file  4.00 kB  main$`, "m"),
		);
		expect(stdout).toMatch(/^2 models, \d+ kB in /m);
		expect(stdout).toMatch(RegExp(`^  ${before}  8 files +\\d+ kB$`, "m"));
		const one = await run("cache", DELTA, "--json");
		const told = JSON.parse(one.stdout);
		expect(told.repositories).toHaveLength(1);
		expect(told.repositories[0].snapshots[0]).toMatchObject({
			...{ commit: first, revisions: ["main"], broken: [] },
		});
	});

	test("tells what is incomplete and what is broken", async () => {
		await fetched(DELTA);
		await rm(await blobOf(DELTA, 64));
		const left = path.join(blobsOf(DELTA), `${"a".repeat(64)}.ab12.incomplete`);
		await writeFile(left, new Uint8Array(2000));
		const { stdout } = await run("cache");
		expect(stdout).toContain("  1 incomplete download, 2.00 kB\n");
		expect(stdout).toContain("  1 file without a blob\n");
	});

	test("that is not there is empty", async () => {
		const nowhere = path.join(folder, "no");
		const { exitCode, stdout } = await run("cache", "--cache-dir", nowhere);
		expect(exitCode).toBe(0);
		expect(stdout).toBe(`0 models, 0 B in ${nowhere}\n`);
	});

	test.each(["cache", "cache list", "cache verify"])(
		"%s of a model it does not hold is refused",
		async (command) => {
			const { exitCode, stderr } = await run(...command.split(" "), "org/none");
			expect(exitCode).toBe(2);
			expect(stderr).toContain("org/none: not in the cache");
		},
	);
});

describe("cache verify", () => {
	test("checks every blob against its name, without a socket", async () => {
		await fetched(DELTA, TARGET);
		const connect = vi.spyOn(Socket.prototype, "connect");
		onTestFinished(() => connect.mockRestore());
		const { exitCode, stdout, stderr } = await run("cache", "verify");
		expect(exitCode, stderr).toBe(0);
		const names = [
			...(await readdir(blobsOf(DELTA))),
			...(await readdir(blobsOf(TARGET))),
		];
		expect(stdout.match(/: OK$/gm)).toHaveLength(names.length);
		expect(stdout).toContain("lmsys/vicuna-delta/config.json: OK\n");
		expect(stdout).toContain(`verified ${names.length} files in ${folder}\n`);
		expect(connect).not.toHaveBeenCalled();
		const one = await run("cache", "verify", DELTA, "--json");
		const { ok, files } = JSON.parse(one.stdout);
		expect(ok).toBe(true);
		expect(files).toHaveLength((await readdir(blobsOf(DELTA))).length);
	});

	test.each([64, 40] as const)(
		"finds a bit of a blob named by %i digits that is another",
		async (oidLength) => {
			await fetched(DELTA);
			const blob = await blobOf(DELTA, oidLength);
			await flipBit(blob);
			const { exitCode, stdout, stderr } = await run("cache", "verify");
			expect(exitCode).toBe(1);
			expect(stdout.match(/: FAILED$/gm)).toHaveLength(1);
			expect(stdout).toMatch(/^not verified .*: 1 file of \d+ failed$/m);
			expect(stderr).toContain(`delete ${blob} and fetch it again`);
			const told = await run("cache", "verify", "--json");
			expect(told.exitCode).toBe(1);
			const shown = await run("cache", "verify", "--annotations", "github");
			expect(shown.stdout + shown.stderr).toMatch(
				RegExp(
					`^::error file=${blob},.*: FAILED%0Aexpected \\w{${oidLength}}`,
					"m",
				),
			);
			const { ok, files } = JSON.parse(told.stdout);
			expect(ok).toBe(false);
			expect(
				files.filter(({ status }: { status: string }) => status === "FAILED"),
			).toEqual([expect.objectContaining({ file: blob })]);
			await rm(blob);
			await run("fetch", DELTA);
			expect((await run("cache", "verify")).exitCode).toBe(0);
		},
	);

	test("finds a blob that is gone", async () => {
		await fetched(DELTA);
		await rm(await blobOf(DELTA, 64));
		const { exitCode, stdout, stderr } = await run("cache", "verify");
		expect(exitCode).toBe(1);
		expect(stdout.match(/: FAILED open or read$/gm)).toHaveLength(1);
		expect(stderr).toContain("fetch it again: merge-delta fetch lmsys/");
	});

	test("follows a blob into the store that all models share", async () => {
		await fetched(DELTA);
		const blob = await blobOf(DELTA, 64);
		const shared = path.join(folder, "blobs", "ab", "c".repeat(64));
		await mkdir(path.dirname(shared), { recursive: true });
		await rename(blob, shared);
		await symlink(path.relative(path.dirname(blob), shared), blob);
		expect((await run("cache", "verify")).exitCode).toBe(0);
		await flipBit(shared);
		expect((await run("cache", "verify")).exitCode).toBe(1);
	});

	test("with nothing to verify says so", async () => {
		const { exitCode, stderr } = await run("cache", "verify");
		expect(exitCode).toBe(1);
		expect(stderr).toContain("there is no blob, so nothing was verified");
		vi.stubEnv("HF_HUB_DISABLE_SYMLINKS", "1");
		await fetched(DELTA);
		const loose = await run("cache", "verify", DELTA);
		expect(loose.exitCode).toBe(1);
		expect(loose.stderr).toContain("so nothing was verified");
		const out = path.join(await scratchFolder(), "none");
		expect((await run("cache", "--cache-dir", out)).exitCode).toBe(0);
	});
});
