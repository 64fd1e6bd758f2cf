import { execFileSync } from "node:child_process";
import { once } from "node:events";
import {
	chmod,
	copyFile,
	cp,
	link,
	mkdir,
	readdir,
	readFile,
	rm,
	symlink,
	truncate,
	writeFile,
} from "node:fs/promises";
import { createServer } from "node:net";
import path from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { thisProcess } from "../../src/io/owner.ts";
import { FIXTURES, run, runHeldByPermissions, scratchFolder } from "./run.ts";

// Commands take long on a busy machine; none waits for a time to pass.
vi.setConfig({ testTimeout: 60_000 });

const LLAMA = path.join(FIXTURES, "llama-f16");
const EDGES = path.join(FIXTURES, "edges-f16");
const posix = test.skipIf(process.platform === "win32");

/** A file whose header may be anything, the rest a hole. */
async function writeContainer(file: string, json: Buffer, dataBytes: number) {
	const length = Buffer.alloc(8);
	length.writeBigUInt64LE(BigInt(json.length));
	await writeFile(file, Buffer.concat([length, json]));
	await truncate(file, 8 + json.length + dataBytes);
}

/** Merge a folder with itself. */
async function mergeWithItself(folder: string, ...flags: string[]) {
	const out = path.join(await scratchFolder(), "out");
	const result = await run(
		...["--base", folder, "--delta", folder, "--out", out, ...flags],
	);
	const left = await readdir(path.dirname(out));
	return { ...result, out, left };
}

describe("inputs too large for the corpus", () => {
	test("case 38: ten million entries are refused at the limit of tensors", async () => {
		const folder = await scratchFolder();
		const entry = (i: number) =>
			`"${i}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`;
		const entries = Array.from({ length: 1_000_001 }, (_, i) => entry(i));
		const json = Buffer.from(`{${entries.join(",")}}`);
		await writeContainer(path.join(folder, "model.safetensors"), json, 0);
		const { exitCode, stderr, left } = await mergeWithItself(folder);
		expect(stderr).toMatch(/1000000|1,000,000/);
		expect([exitCode, left]).toEqual([3, []]);
	}, 60_000);

	test("case 39: 100,000 levels of nesting do not recurse", async () => {
		const folder = await scratchFolder();
		const deep = "[".repeat(100_000) + "]".repeat(100_000);
		const json = Buffer.from(`{"a":{"x":${deep}}}`);
		await writeContainer(path.join(folder, "model.safetensors"), json, 0);
		const { exitCode, left } = await mergeWithItself(folder);
		expect([exitCode, left]).toEqual([3, []]);
	});

	test("case 52: an index of 500,000 tensors is read, one of 250 MB is not", async () => {
		const folder = await scratchFolder();
		const index = path.join(folder, "model.safetensors.index.json");
		const names = Array.from(
			{ length: 500_000 },
			(_, i) => `"${i}":"x.safetensors"`,
		);
		await writeFile(index, `{"weight_map":{${names.join(",")}}}`);
		await copyFile(
			path.join(EDGES, "base", "model.safetensors"),
			path.join(folder, "x.safetensors"),
		);
		const read = await mergeWithItself(folder);
		expect(read.stderr).toMatch(/not in the index|not in its shard/);
		expect([read.exitCode, read.left]).toEqual([3, []]);
		await truncate(index, 250_000_001);
		const refused = await mergeWithItself(folder);
		expect(refused.stderr).toContain("the index is too long");
		expect([refused.exitCode, refused.left]).toEqual([3, []]);
	}, 30_000);

	test("case 65: 10,001 shards are too many", async () => {
		const folder = await scratchFolder();
		const names = Array.from(
			{ length: 10_001 },
			(_, i) => `"${i}":"${i}.safetensors"`,
		);
		await writeFile(
			path.join(folder, "model.safetensors.index.json"),
			`{"weight_map":{${names.join(",")}}}`,
		);
		const { exitCode, stderr, left } = await mergeWithItself(folder);
		expect(stderr).toContain("more than 10000 shards");
		expect([exitCode, left]).toEqual([3, []]);
	});
});

describe("links and special files", () => {
	posix(
		"case 44: shards and side files linked as in a Hub cache are followed",
		async () => {
			const repository = await scratchFolder();
			const snapshot = path.join(repository, "snapshots", "0123");
			await cp(path.join(LLAMA, "base"), path.join(repository, "blobs"), {
				recursive: true,
			});
			await mkdir(snapshot, { recursive: true });
			for (const name of await readdir(path.join(repository, "blobs")))
				await symlink(
					path.join("..", "..", "blobs", name),
					path.join(snapshot, name),
				);
			const out = path.join(await scratchFolder(), "out");
			const result = await run(
				...[
					"--base",
					snapshot,
					"--delta",
					path.join(LLAMA, "delta"),
					"--out",
					out,
				],
			);
			expect(result.exitCode, result.stderr).toBe(0);
			expect(await readFile(path.join(out, "config.json"))).toEqual(
				await readFile(path.join(LLAMA, "expected", "config.json")),
			);
		},
	);

	posix("case 45: a pipe is refused and does not hang", async () => {
		const folder = await scratchFolder();
		execFileSync("mkfifo", [path.join(folder, "model.safetensors")]);
		const { exitCode, stderr, left } = await mergeWithItself(folder);
		expect(stderr).toContain("not a regular file");
		expect([exitCode, left]).toEqual([3, []]);
	});

	posix("case 45: nor is a socket, a device or a folder read", async () => {
		const file = async () =>
			path.join(await scratchFolder(), "model.safetensors");
		const socket = await file();
		const server = createServer().listen(socket);
		onTestFinished(() => void server.close());
		await once(server, "listening");
		const device = await file();
		await symlink("/dev/zero", device);
		const folder = await file();
		await mkdir(folder);
		for (const special of [socket, device, folder]) {
			const { exitCode, stderr, left } = await mergeWithItself(
				path.dirname(special),
			);
			expect(stderr).toContain("not a regular file");
			expect([exitCode, left]).toEqual([3, []]);
		}
	});

	posix(
		"case 64: a config linked from outside the folder is not published",
		async () => {
			const folder = await scratchFolder();
			await copyFile(
				path.join(EDGES, "base", "model.safetensors"),
				path.join(folder, "model.safetensors"),
			);
			await symlink("/etc/passwd", path.join(folder, "config.json"));
			const { exitCode, stderr, left } = await mergeWithItself(folder);
			expect(stderr).toContain("a symbolic link out of the model's folder");
			expect([exitCode, left]).toEqual([3, []]);
		},
	);
});

describe("the output's place", () => {
	const merge = (base: string, out: string) =>
		run("--base", base, "--delta", path.join(LLAMA, "delta"), "--out", out);

	test("case 60: it is not in an input, by any name", async () => {
		const base = path.join(await scratchFolder(), "base");
		await cp(path.join(LLAMA, "base"), base, { recursive: true });
		const before = await readdir(base);
		for (const out of [path.join(base, "out"), base]) {
			const { exitCode, stderr } = await merge(base, out);
			expect(stderr).toContain("would lie in the input");
			expect(exitCode).toBe(2);
		}
		if (process.platform !== "win32") {
			const link = path.join(await scratchFolder(), "link");
			await symlink(base, link);
			expect((await merge(base, link)).exitCode).toBe(2);
			expect((await merge(base, path.join(link, "out"))).exitCode).toBe(2);
		}
		expect(await readdir(base)).toEqual(before);
	});

	posix("case 61: no link of another user leads to it", async () => {
		if (process.getuid?.() !== 0) return;
		const folder = await scratchFolder();
		await mkdir(path.join(folder, "real"));
		await symlink("real", path.join(folder, "link"));
		execFileSync("chown", ["-h", "65534", path.join(folder, "link")]);
		const { exitCode, stderr } = await merge(
			path.join(LLAMA, "base"),
			path.join(folder, "link", "out"),
		);
		expect(stderr).toContain("symbolic link of another user");
		expect(exitCode).toBe(2);
		expect(await readdir(path.join(folder, "real"))).toEqual([]);
	});

	posix("case 61: no link is taken for it, wherever it leads", async () => {
		const folder = await scratchFolder();
		const empty = path.join(folder, "empty");
		await mkdir(empty);
		const link = path.join(folder, "link");
		for (const target of ["nowhere", "empty"]) {
			await symlink(target, link);
			const { exitCode, stderr } = await merge(path.join(LLAMA, "base"), link);
			expect(stderr).toContain("the output is a symbolic link");
			expect(exitCode).toBe(8);
			await rm(link);
		}
		// nor for the folder beside it
		const out = path.join(folder, "out");
		await symlink("empty", `${out}.merge-delta`);
		await writeFile(path.join(empty, "mine"), "precious");
		expect((await merge(path.join(LLAMA, "base"), out)).exitCode).toBe(8);
		expect(await readdir(empty)).toEqual(["mine"]);
	});

	posix("case 60: it is no hard link to an input", async () => {
		const folder = await scratchFolder();
		const file = path.join(EDGES, "base", "model.safetensors");
		const base = path.join(folder, "base.safetensors");
		await copyFile(file, base);
		await link(base, path.join(folder, "out"));
		const { exitCode, stderr } = await run(
			...["--base", base, "--delta", file, "--allow-unlikely"],
			...["--out", path.join(folder, "out")],
		);
		expect(stderr).toContain("the output exists already");
		expect(exitCode).toBe(8);
		expect(await readFile(base)).toEqual(await readFile(file));
	});

	posix("case 62: a parent without permission to write", async () => {
		const parent = await scratchFolder();
		const out = path.join(parent, "out");
		await chmod(parent, 0o555);
		const sides = ["base", "delta"].flatMap((side) => [
			...[`--${side}`, path.join(LLAMA, side)],
		]);
		const { status, stderr } = runHeldByPermissions(...sides, "--out", out);
		await chmod(parent, 0o755);
		expect(stderr).toContain("(EACCES). Check the permissions");
		expect(status).toBe(6);
		expect(await readdir(parent)).toEqual([]);
	});

	posix(
		"case 62: a parent that cannot be written to is a local failure",
		async () => {
			const { exitCode, stderr } = await merge(
				path.join(LLAMA, "base"),
				"/proc/out",
			);
			expect(stderr).toContain("/proc");
			expect(exitCode).toBe(6);
		},
	);

	test("it does not exist yet, or is empty", async () => {
		const folder = await scratchFolder();
		await writeFile(path.join(folder, "mine"), "precious");
		const { exitCode, stderr } = await merge(path.join(LLAMA, "base"), folder);
		expect(stderr).toContain("the output exists already");
		expect(exitCode).toBe(8);
		expect(await readdir(folder)).toEqual(["mine"]);
		const empty = await scratchFolder();
		expect((await merge(path.join(LLAMA, "base"), empty)).exitCode).toBe(0);
	});

	test("a staging folder of a dead process is replaced, one in use is not", async () => {
		const out = path.join(await scratchFolder(), "out");
		const staging = `${out}.merge-delta`;
		const self = await thisProcess();
		const own = (owner: object) =>
			writeFile(
				path.join(staging, "owner.json"),
				JSON.stringify({ ...self, ...owner }),
			);
		await mkdir(staging);
		await own({});
		expect((await merge(path.join(LLAMA, "base"), out)).exitCode).toBe(8);
		expect(await readdir(path.dirname(out))).toEqual(["out.merge-delta"]);
		await own({ pid: 2 ** 30 });
		expect((await merge(path.join(LLAMA, "base"), out)).exitCode).toBe(0);
		expect(await readdir(path.dirname(out))).toEqual(["out"]);
	});
});

test("case 63: a model merged with itself is refused, or else warned about", async () => {
	const base = path.join(LLAMA, "base");
	const refused = await mergeWithItself(base);
	expect(refused.stderr).toContain("base and delta are the same");
	expect(refused.exitCode).toBe(4);
	const { stderr, exitCode } = await mergeWithItself(base, "--allow-unlikely");
	expect(stderr).toContain("base and delta are the same");
	expect(exitCode).toBe(0);
});

test("an output may lie beside a bare weight file", async () => {
	const folder = await scratchFolder();
	const file = path.join(folder, "a.safetensors");
	await copyFile(path.join(EDGES, "base", "model.safetensors"), file);
	const out = path.join(folder, "out");
	const flags = ["--base", file, "--delta", file];
	flags.push("--allow-non-finite", "--allow-unlikely");
	expect((await run(...flags, "--out", out)).exitCode).toBe(0);
	expect((await run(...flags, "--out", file)).exitCode).toBe(2);
});

test("a bare weight file is a model", async () => {
	const out = path.join(await scratchFolder(), "out");
	const file = (side: string) => path.join(EDGES, side, "model.safetensors");
	const result = await run(
		...["--base", file("base"), "--delta", file("delta"), "--out", out],
		...["--convention", "add", "--allow-non-finite"],
	);
	expect(result.exitCode).toBe(0);
	expect(await readFile(path.join(out, "model.safetensors"))).toEqual(
		await readFile(file("expected")),
	);
});
