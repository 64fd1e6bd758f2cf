import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
	mkdir,
	readdir,
	readFile,
	rename,
	rm,
	stat,
	truncate,
	utimes,
	writeFile,
} from "node:fs/promises";
import path from "node:path";
import { expect, test, vi } from "vitest";
import {
	InterruptedError,
	LocalIoError,
	type MergeOptions,
	make,
	merge,
	OutputConflictError,
	VerificationError,
} from "../../src/index.ts";
import { thisProcess } from "../../src/io/owner.ts";
import { run, scratchFolder } from "../end-to-end/run.ts";
import { writeModel } from "./crash/tiny-merge.ts";

vi.setConfig({ testTimeout: 60_000 });

const SMALL = { syncBytes: 2 ** 15, kernel: "js" } as const;
/** Enough slices that not all are written before the first are safe. */
const ROWS = { "a.weight": 20_000, "b.weight": 9000, "c.weight": 15_000 };

/** Two models of some shards, and where to merge them. */
async function models() {
	const folder = await scratchFolder();
	const [base, delta] = [path.join(folder, "b"), path.join(folder, "d")];
	await writeModel(base, { limit: 1, seed: 1, rows: ROWS });
	await writeModel(delta, { limit: 2, seed: 2, rows: ROWS });
	const outFolder = await scratchFolder();
	const out = path.join(outFolder, "out");
	return {
		options: { base, delta, out, convention: "add", ...SMALL } as const,
		...{ out, outFolder, root: `${out}.merge-delta` },
	};
}

/** Merge until something is safe, and stop. @returns how much is */
async function stopMidway(options: MergeOptions): Promise<number> {
	const controller = new AbortController();
	const error = await merge({
		...{ ...options, signal: controller.signal },
		onProgress: ({ safeBytes }) => {
			if (safeBytes > 0) controller.abort();
		},
	}).catch((error) => error);
	expect(error).toBeInstanceOf(InterruptedError);
	expect(await readdir(path.dirname(options.out))).toEqual(["out.merge-delta"]);
	return Number.parseInt(error.fault.details[0], 10);
}

/** The whole output, by name. */
async function read(out: string): Promise<Record<string, string>> {
	const files: Record<string, string> = {};
	for (const name of await readdir(out))
		files[name] = await readFile(path.join(out, name), "latin1");
	return files;
}

async function uninterrupted(options: MergeOptions) {
	const out = path.join(await scratchFolder(), "out");
	await merge({ ...options, out });
	return read(out);
}

test("a merge that goes on gives the same files, manifest and checksums included", async () => {
	const { options, out, outFolder } = await models();
	const expected = await uninterrupted(options);
	const safe = await stopMidway(options);
	const found: object[] = [];
	const { resumed } = await merge({
		...options,
		onResume: (each) => found.push(each),
	});
	expect(resumed?.byteLength).toBe(safe);
	expect(found).toEqual([{ byteLength: safe, totalBytes: expect.anything() }]);
	expect(await read(out)).toEqual(expected);
	expect(await readdir(outFolder)).toEqual(["out"]);
});

test("what a delta does not give back is counted once, however often it was gone on with", async () => {
	const { options, out } = await models();
	const { base, delta: target, kernel, syncBytes } = options;
	const wanted = { base, target, kernel, convention: "add" } as const;
	const whole = path.join(await scratchFolder(), "out");
	const { restoration } = await make({ ...wanted, out: whole });
	expect(restoration.elements).toBeGreaterThan(0);
	const controller = new AbortController();
	const making = make({
		...{ ...wanted, out, syncBytes, signal: controller.signal },
		onProgress: ({ safeBytes }) => {
			if (safeBytes > 100_000) controller.abort();
		},
	});
	await expect(making).rejects.toThrow(InterruptedError);
	const { resumed } = await make({ ...wanted, out });
	expect(resumed?.byteLength).toBeGreaterThan(100_000);
	expect(await read(out)).toEqual(await read(whole));
});

test("case 161: what was claimed and is not there any more, or is other bytes, is made again", async () => {
	const { options, out, root } = await models();
	const expected = await uninterrupted(options);
	for (const spoil of [
		(file: string) => truncate(file, 100),
		(file: string) => writeFile(file, "x"),
		async (file: string) => {
			const bytes = await readFile(file);
			bytes[50] = (bytes[50] as number) ^ 1;
			await writeFile(file, bytes);
		},
		(file: string) => rm(file),
	]) {
		await stopMidway(options);
		const [merged = ""] = (await readdir(root)).filter((name) =>
			name.startsWith("merged."),
		);
		for (const name of await readdir(path.join(root, merged)))
			await spoil(path.join(root, merged, name));
		const { resumed } = await merge(options);
		expect(resumed).toBeNull();
		expect(await read(out)).toEqual(expected);
		await rm(out, { recursive: true });
	}
});

test("case 162: another plan is not gone on with, and says what differs", async () => {
	const { options, out, outFolder } = await models();
	await stopMidway(options);
	const { base, delta } = options;
	const other = await run(
		...["--base", base, "--delta", delta, "--out", out],
		...["--convention", "add", "--dtype", "F32"],
	);
	expect(other.exitCode).toBe(8);
	expect(other.stderr).toContain("unfinished merge of another plan");
	expect(other.stderr).toMatch(/planId: there "\w+", now "\w+"/);
	expect(other.stderr).toMatch(/sums: there .*→ F16.*→ F32/);
	expect(await readdir(outFolder)).toEqual(["out.merge-delta"]);
	const again = await run(
		...["--base", base, "--delta", delta, "--out", out, "--convention", "add"],
		...["--allow-non-finite", "--json"],
	);
	expect(again.exitCode, again.stderr).toBe(0);
	expect(JSON.parse(again.stdout).resumed.byteLength).toBeGreaterThan(0);
	expect(again.stderr).toMatch(/^resuming: .* of .* are there/m);
});

test("case 162: an input that has changed since is named; --no-resume begins anew", async () => {
	const { options, out } = await models();
	await stopMidway(options);
	const [shard = ""] = (await readdir(options.base)).filter((name) =>
		name.endsWith(".safetensors"),
	);
	await utimes(path.join(options.base, shard), 1, 1);
	const error = await merge(options).catch((error) => error);
	expect(error).toBeInstanceOf(OutputConflictError);
	expect(error.message).toContain("--no-resume");
	expect(error.fault.details).toEqual([
		expect.stringContaining(`base ${shard}: there `),
	]);
	const { resumed } = await merge({ ...options, resume: false });
	expect(resumed).toBeNull();
	expect(await read(out)).toEqual(await uninterrupted(options));
});

test("another plan of which nothing was safe is no obstacle", async () => {
	const { options, root, out } = await models();
	await stopMidway(options);
	await truncate(path.join(root, "journal"), 100);
	const other = { ...options, dtype: "F32" } as const;
	await merge(other);
	expect(await read(out)).toEqual(await uninterrupted(other));
});

test("what appears at the output while nothing runs is kept, and so is what was safe", async () => {
	const { options, out, outFolder } = await models();
	const safe = await stopMidway(options);
	await mkdir(out);
	await writeFile(path.join(out, "mine"), "precious");
	let progress = 0;
	const merging = merge({ ...options, onProgress: () => progress++ });
	await expect(merging).rejects.toThrow(OutputConflictError);
	expect(progress).toBe(0);
	expect(await readdir(outFolder)).toEqual(["out", "out.merge-delta"]);
	expect(await readdir(out)).toEqual(["mine"]);
	await rm(out, { recursive: true });
	expect((await merge(options)).resumed?.byteLength).toBe(safe);
});

test("a folder is replaced only when asked, and then at once", async () => {
	const { options, out, outFolder } = await models();
	await merge(options);
	await writeFile(path.join(out, "mine"), "precious");
	await expect(merge(options)).rejects.toThrow(OutputConflictError);
	expect(await readdir(out)).toContain("mine");
	await merge({ ...options, overwrite: true });
	expect(await read(out)).toEqual(await uninterrupted(options));
	expect(await readdir(outFolder)).toEqual(["out"]);
});

test("an output that would replace what it is made from is refused", async () => {
	const { options } = await models();
	const out = path.dirname(options.base);
	const merging = merge({ ...options, out, overwrite: true });
	await expect(merging).rejects.toThrow(/--overwrite would delete the input/);
	expect(await readdir(out)).toEqual(["b", "d"]);
});

test("what is refused is not kept, unless asked", async () => {
	const { options, outFolder } = await models();
	const refused = { ...options, expectSum: 123, allowNonFinite: true };
	await expect(merge(refused)).rejects.toThrow(/do not add up/);
	expect(await readdir(outFolder)).toEqual([]);
	const merging = merge({ ...refused, keepStaging: true });
	await expect(merging).rejects.toThrow(/do not add up/);
	expect(await readdir(outFolder)).toEqual(["out.merge-delta"]);
});

/** A list that all but the weights of `out` are right in. */
async function wrongList(options: MergeOptions): Promise<string> {
	const { SHA256SUMS: sums = "" } = await uninterrupted(options);
	const list = path.join(await scratchFolder(), "sums");
	await writeFile(list, sums.replace(/\w{64}(?= {2}model-)/, "0".repeat(64)));
	return list;
}

test("case 204: what goes on is held to what is expected too, and not kept where it is refused, unless asked", async () => {
	const { options, out, outFolder } = await models();
	const list = await wrongList(options);
	const command = [
		...["--base", options.base, "--delta", options.delta, "--out", out],
		...["--convention", "add", "--allow-non-finite", "--json"],
	];
	for (const keeps of [true, false]) {
		if (keeps) await stopMidway(options);
		const { exitCode, stdout } = await run(
			...[...command, "--expect", list],
			...(keeps ? ["--keep-staging"] : []),
		);
		expect(exitCode).toBe(1);
		expect(stdout).toMatch(/model-\S+: expected 0000/);
		const left = keeps ? ["out.merge-delta"] : [];
		expect(await readdir(outFolder)).toEqual(left);
	}
	await stopMidway(options);
	await rm(list);
	await writeFile(list, (await uninterrupted(options)).SHA256SUMS ?? "");
	const done = await run(...command, "--expect", list);
	expect(done.exitCode, done.stderr).toBe(0);
	expect(JSON.parse(done.stdout).resumed.byteLength).toBeGreaterThan(0);
});

test("case 138: what goes on is held to the checksums of its inputs too", async () => {
	const { options, outFolder } = await models();
	const sums = async (side: string, change: (sum: string) => string) => {
		const list = path.join(await scratchFolder(), "sums");
		const lines: string[] = [];
		for (const name of await readdir(side)) {
			const bytes = await readFile(path.join(side, name));
			const sum = createHash("sha256").update(bytes).digest("hex");
			lines.push(`${change(sum)}  ${name}\n`);
		}
		await writeFile(list, lines.join(""));
		return list;
	};
	const { base } = options;
	await stopMidway(options);
	const baseSha256 = await sums(base, (sum) => sum);
	expect((await merge({ ...options, baseSha256 })).resumed).not.toBeNull();
	await rm(options.out, { recursive: true });
	await stopMidway(options);
	const wrong = { baseSha256: await sums(base, () => "0".repeat(64)) };
	await expect(merge({ ...options, ...wrong })).rejects.toThrow(
		VerificationError,
	);
	expect(await readdir(outFolder)).toEqual([]);
});

test("case 204: what was published by a run that could not say so is held to what is expected, and stays", async () => {
	const { options, out, root } = await models();
	await merge(options);
	const published = await read(out);
	await mkdir(root);
	const gone = { ...(await thisProcess()), pid: 2 ** 22 + 1, bootId: "1" };
	await writeFile(path.join(root, "owner.json"), JSON.stringify(gone));
	const wrong = { ...options, expect: await wrongList(options) };
	await expect(merge(wrong)).rejects.toThrow(VerificationError);
	expect(await read(out)).toEqual(published);
	const { resumed } = await merge(options);
	expect(resumed?.shards).toBeGreaterThan(1);
	expect(await read(out)).toEqual(published);
});

test("case 164: an owner that is gone keeps nobody out, whoever has its number now", async () => {
	const { options, out, root } = await models();
	const self = await thisProcess();
	const gone = [{ pid: 2 ** 22 + 1 }, { startTime: "1" }, { bootId: "1" }];
	for (const change of process.platform === "linux" ? gone : [gone[0]]) {
		await stopMidway(options);
		const owner = path.join(root, "owner.json");
		await writeFile(owner, JSON.stringify({ ...self, ...change }));
		expect((await merge(options)).resumed).not.toBeNull();
		await rm(out, { recursive: true });
	}
	await stopMidway(options);
	await writeFile(path.join(root, "owner.json"), JSON.stringify(self));
	await expect(merge(options)).rejects.toThrow(/in use by process \d+/);
	await writeFile(
		path.join(root, "owner.json"),
		JSON.stringify({ ...self, host: "elsewhere" }),
	);
	await expect(merge(options)).rejects.toThrow(/on elsewhere/);
});

test("a file that is not of the merge, in its staging folder, is left alone", async () => {
	const { options, root } = await models();
	await stopMidway(options);
	const [merged = ""] = (await readdir(root)).filter((name) =>
		name.startsWith("merged."),
	);
	for (const folder of [root, path.join(root, merged)]) {
		const mine = path.join(folder, "mine");
		await writeFile(mine, "precious");
		await expect(merge(options)).rejects.toThrow(/not a file of this merge/);
		expect(await readFile(mine, "utf8")).toBe("precious");
		await rm(mine);
	}
	expect((await merge(options)).resumed).not.toBeNull();
});

test("case 167: a staging folder that is deleted meanwhile is a local failure", async () => {
	const { options, root, outFolder } = await models();
	let deleting: Promise<void> | null = null;
	const merging = merge({
		...options,
		onProgress: () => {
			deleting ??= rename(root, path.join(outFolder, "gone"));
		},
	});
	await expect(merging).rejects.toThrow(LocalIoError);
	await deleting;
	expect(await readdir(outFolder)).toEqual(["gone"]);
	expect((await merge(options)).resumed).toBeNull();
});

test("case 168: the clock has no say", async () => {
	const { options } = await models();
	const expected = await uninterrupted(options);
	for (const year of ["1969-12-31", "2038-01-20"]) {
		vi.useFakeTimers({ now: new Date(year), toFake: ["Date"] });
		try {
			expect(await uninterrupted(options)).toEqual(expected);
		} finally {
			vi.useRealTimers();
		}
	}
});

test.runIf(process.platform !== "win32").each([
	["case 155", "SIGKILL", null],
	["case 157", "SIGINT", 130],
	["case 157", "SIGTERM", 143],
] as const)(
	"%s: after %s the same command gives the same bytes",
	async (_, signal, expectedCode) => {
		const { options, out, outFolder, root } = await models();
		const expected = await uninterrupted(options);
		const library = new URL("../../dist/src/index.js", import.meta.url).href;
		// Held up after the first slices, until the signal has come.
		const program = `
			import { readSync } from "node:fs";
			import { merge } from ${JSON.stringify(library)};
			const stop = new AbortController();
			for (const [i, name] of ["SIGINT", "SIGTERM"].entries())
				process.on(name, () => { process.exitCode = [130, 143][i]; stop.abort(); });
			const source = ${JSON.stringify(options)};
			let held = false;
			await merge({ ...source, signal: stop.signal, onProgress: ({ safeBytes }) => {
				if (safeBytes === 0 || held) return;
				held = true;
				process.stdout.write("safe");
				readSync(0, new Uint8Array(1));
			} }).catch((error) => console.error(error.fault.details));`;
		const child = spawn(
			process.execPath,
			["--input-type=module", "-e", program],
			{ stdio: ["pipe", "pipe", "pipe"] },
		);
		await new Promise((resolve) => child.stdout.once("data", resolve));
		child.kill(signal);
		child.stdin.end();
		const code = await new Promise((resolve) => child.on("exit", resolve));
		expect(code).toBe(expectedCode);
		expect(await readdir(outFolder)).toEqual(["out.merge-delta"]);
		expect((await stat(path.join(root, "journal"))).size).toBeGreaterThan(0);
		const { resumed } = await merge(options);
		expect(resumed?.byteLength).toBeGreaterThan(0);
		expect(await read(out)).toEqual(expected);
	},
	60_000,
);
