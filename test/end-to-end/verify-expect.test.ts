import { createHash } from "node:crypto";
import {
	appendFile,
	copyFile,
	readdir,
	readFile,
	rm,
	writeFile,
} from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { stateOf, useMergedModel } from "./merged-model.ts";
import { FIXTURES, memoryFolder, run } from "./run.ts";

const SUMS = "SHA256SUMS";
const MANIFEST = "merge-delta.json";
const ZEROS = "0".repeat(64);
const mergedModel = useMergedModel();

/** A model with copies elsewhere of what it says of itself. */
async function modelAndLists() {
	const out = await mergedModel();
	const lists = await memoryFolder();
	const [sums, manifest] = [SUMS, MANIFEST].map((n) => path.join(lists, n));
	await copyFile(path.join(out, SUMS), sums as string);
	await copyFile(path.join(out, MANIFEST), manifest as string);
	return { out, sums: sums as string, manifest: manifest as string };
}

describe.each(["sums", "manifest"] as const)("--expect with %s", (which) => {
	test("a folder that matches", async () => {
		const { out, [which]: list } = await modelAndLists();
		const { exitCode, stdout } = await run("verify", out, "--expect", list);
		expect(stdout).toContain("9 files, index");
		expect(exitCode).toBe(0);
		await rm(path.join(out, SUMS));
		expect((await run("verify", out, "--expect", list)).exitCode).toBe(0);
	});

	test.each<[string, string, (out: string) => Promise<unknown>]>([
		[
			"case 204: whose own checksums were made to fit",
			"config.json: FAILED",
			async (out) => {
				await writeFile(path.join(out, "config.json"), "{}");
				const sum = createHash("sha256").update("{}").digest("hex");
				const text = await readFile(path.join(out, SUMS), "utf8");
				await writeFile(
					path.join(out, SUMS),
					text.replace(/^\w+(?= {2}config)/m, sum),
				);
			},
		],
		[
			"case 205: that lacks a file",
			"tokenizer.json: FAILED open or read",
			(out) => rm(path.join(out, "tokenizer.json")),
		],
		[
			"case 206: with a file more",
			"extra: not in",
			(out) => writeFile(path.join(out, "extra"), ""),
		],
		[
			"case 206: with a file more that only its own checksums list",
			`${SUMS} says otherwise of extra than`,
			async (out) => {
				await writeFile(path.join(out, "extra"), "");
				await appendFile(path.join(out, SUMS), `${ZEROS}  extra\n`);
			},
		],
		[
			"whose own checksums are of other bytes",
			`${SUMS} says otherwise of config.json than`,
			async (out) => writeFile(path.join(out, SUMS), `${ZEROS}  config.json\n`),
		],
		[
			"whose manifest is another",
			`${MANIFEST}: FAILED`,
			(out) => appendFile(path.join(out, MANIFEST), "\n"),
		],
	])("a folder %s → exit 1", async (_, says, spoil) => {
		const { out, [which]: list } = await modelAndLists();
		await spoil(out);
		const before = await stateOf(path.dirname(out));
		const { exitCode, stdout } = await run("verify", out, "--expect", list);
		expect(stdout).toContain(says);
		expect(exitCode).toBe(1);
		expect(await stateOf(path.dirname(out))).toEqual(before);
	});
});

describe("what is expected", () => {
	test.each<[string, string, number, string]>([
		["case 207: a malformed line", `${ZEROS}  a\nwhat?\n`, 1, "not a checksum"],
		["case 208: nothing", "# none\n", 1, "nothing was verified"],
		["case 209: a name outside", `${ZEROS}  ../a\n`, 3, "leads out of"],
		["case 211: two sums", `${ZEROS}  a\n1${ZEROS.slice(1)}  a\n`, 3, "second"],
		["case 212: MD5", `${ZEROS.slice(32)}  a\n`, 3, "--algorithm md5"],
		["case 218: newer", '{"schemaVersion":2}', 3, "Use a newer merge-delta"],
		["no manifest", "{}", 3, "no manifest of merge-delta"],
		["a manifest of nothing", '{"schemaVersion":1}', 3, "no manifest"],
		["no JSON", "{", 3, "not a string"],
		[
			"case 209: a manifest of a name outside",
			`{"schemaVersion":1,"outputs":[{"fileName":"../a","sha256":"${ZEROS}"}]}`,
			3,
			"plain names, each once",
		],
		[
			"a manifest of a file without checksum",
			'{"schemaVersion":1,"outputs":[{"fileName":"a"}]}',
			3,
			"an output without fileName or sha256",
		],
	])("%s", async (_, text, exitCode, says) => {
		const out = await mergedModel();
		const list = path.join(await memoryFolder(), "list");
		await writeFile(list, text);
		const result = await run("verify", out, "--expect", list, "--json");
		expect(result.stdout + result.stderr).toContain(says);
		expect(result.exitCode).toBe(exitCode);
		expect(JSON.parse(result.stdout).ok).toBe(false);
	});

	test("no such file → exit 2", async () => {
		const out = await mergedModel();
		const { exitCode, stderr } = await run("verify", out, "--expect", "/no");
		expect(stderr).toMatch(/^error \/no: no such file\. .+\n$/);
		expect(exitCode).toBe(2);
	});

	test("a list in the folder itself is no file too many", async () => {
		const out = await mergedModel();
		const list = path.join(out, "sums.txt");
		await copyFile(path.join(out, SUMS), list);
		const { exitCode, stdout } = await run("verify", out, "--expect", list);
		expect(stdout).not.toContain("FAILED");
		expect(exitCode).toBe(0);
		expect((await run("verify", out)).exitCode).toBe(1);
	});
});

describe("case 212: MD5, where it is asked for", () => {
	async function oldRelease(name: string) {
		const folder = await memoryFolder();
		await writeFile(path.join(folder, "consolidated.00.pth"), "weights");
		const sum = createHash("md5").update("weights").digest("hex");
		const list = path.join(folder, name);
		await writeFile(list, `${sum}  consolidated.00.pth\n`);
		return { folder, list };
	}
	const asked = ["--algorithm", "md5"];

	test("verifies, and is said to be weak", async () => {
		const { folder, list } = await oldRelease("checklist.chk");
		const flags = ["--expect", list, ...asked];
		const { exitCode, stdout, stderr } = await run("verify", folder, ...flags);
		expect(stdout).toContain("consolidated.00.pth: OK\nverified");
		expect(stderr).toMatch(/^warning .*MD5 shows damage, not forgery/);
		expect(exitCode).toBe(0);
		const unasked = await run("verify", folder, "--expect", list);
		expect(unasked.exitCode).toBe(3);
	});

	test("finds damage", async () => {
		const { folder } = await oldRelease("MD5SUMS");
		await appendFile(path.join(folder, "consolidated.00.pth"), "?");
		const { exitCode, stdout } = await run("verify", folder, ...asked);
		expect(stdout).toContain("consolidated.00.pth: FAILED");
		expect(exitCode).toBe(1);
	});

	test("refuses SHA-256, and manifests", async () => {
		const { out, sums, manifest } = await modelAndLists();
		const withSums = await run("verify", out, "--expect", sums, ...asked);
		expect(withSums.stderr).toContain("another checksum than MD5");
		expect(withSums.exitCode).toBe(3);
		const flags = ["--expect", manifest, ...asked];
		expect((await run("verify", out, ...flags)).exitCode).toBe(2);
	});
});

describe("--tensors", () => {
	async function listOf(source: string) {
		const { stdout } = await run("inspect", source, "--digests", "--json");
		const list = path.join(await memoryFolder(), "tensors.json");
		await writeFile(list, stdout);
		return list;
	}

	test("names the tensor whose elements differ", async () => {
		const out = await mergedModel();
		const list = await listOf(out);
		const same = await run("verify", out, "--tensors", list);
		expect(same.stdout).toContain("tensor lm_head.weight: OK\n");
		expect(same.stdout).toMatch(/^verified .*: 21 tensors$/m);
		expect(same.exitCode).toBe(0);
		const [shard] = (await readdir(out)).filter((n) => n.includes("00003-of"));
		const file = path.join(out, shard as string);
		const bytes = await readFile(file);
		bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
		await writeFile(file, bytes);
		const { stdout, exitCode } = await run(
			...["verify", out, "--tensors", list, "--quiet"],
		);
		expect(stdout).toMatch(
			/^tensor \S+: FAILED\nnot verified .*: 1 of 21 failed, 0 other problems\n$/,
		);
		expect(exitCode).toBe(1);
	});

	test("does not care in which format and how many files they lie", async () => {
		const [torch, safetensors] = ["base", "base-safetensors"].map((name) =>
			path.join(FIXTURES, "torch", "merge", name),
		);
		const list = await listOf(safetensors as string);
		const flags = ["--tensors", list, "--threads", "2", "--memory", "8MB"];
		const result = await run("verify", torch as string, ...flags);
		expect(result.stdout).toContain("verified");
		expect(result.exitCode).toBe(0);
		expect(JSON.parse(await readFile(list, "utf8")).tensors).not.toEqual([]);
	});

	test("views of torch files have the elements that they show", async () => {
		const folder = path.join(FIXTURES, "torch", "views");
		const list = await listOf(path.join(folder, "expected"));
		const { stdout, exitCode } = await run(
			...["verify", path.join(folder, "pytorch_model.bin"), "--tensors", list],
		);
		expect(stdout).not.toContain("FAILED");
		expect(exitCode).toBe(0);
	});

	test.each<[string, number, string, (t: Tensors) => unknown]>([
		[
			"a tensor that is not there",
			1,
			"tensor more: FAILED, not there",
			(t) => t.tensors.push({ ...t.tensors[0], name: "more" }),
		],
		[
			"a tensor that is not listed",
			1,
			'FAILED tensor "lm_head.weight": not in',
			(t) => (t.tensors = t.tensors.filter((x) => x.name !== "lm_head.weight")),
		],
		[
			"another type",
			1,
			"tensor lm_head.weight: FAILED\n",
			(t) => {
				for (const each of t.tensors)
					if (each.name === "lm_head.weight") each.dtype = "BF16";
			},
		],
		["case 208: no tensor", 1, "nothing was verified", (t) => (t.tensors = [])],
		[
			"case 218: a newer version",
			3,
			"expected schemaVersion 1, found 2",
			(t) => (t.schemaVersion = 2),
		],
		[
			"a tensor twice",
			3,
			"twice",
			(t) => t.tensors.push(t.tensors[0] as Tensors["tensors"][number]),
		],
		[
			"a tensor without digest",
			3,
			"without name, dtype or sha256",
			(t) => delete t.tensors[0]?.sha256,
		],
	])("%s → exit %i", async (_, exitCode, says, spoil) => {
		const out = await mergedModel();
		const list = await listOf(out);
		const tensors: Tensors = JSON.parse(await readFile(list, "utf8"));
		spoil(tensors);
		await writeFile(list, JSON.stringify(tensors));
		const before = await stateOf(path.dirname(out));
		const result = await run("verify", out, "--tensors", list);
		expect(result.stdout + result.stderr).toContain(says);
		expect(result.exitCode).toBe(exitCode);
		expect(await stateOf(path.dirname(out))).toEqual(before);
	});

	test("with --expect both are verified", async () => {
		const { out, sums } = await modelAndLists();
		const list = await listOf(out);
		const flags = ["--expect", sums, "--tensors", list];
		const { stdout } = await run("verify", out, ...flags);
		expect(stdout).toContain("9 files, 21 tensors, index");
		await appendFile(path.join(out, "config.json"), " ");
		expect((await run("verify", out, ...flags)).exitCode).toBe(1);
	});

	test("no such list → exit 2", async () => {
		const out = await mergedModel();
		expect((await run("verify", out, "--tensors", "/no")).exitCode).toBe(2);
	});
});

interface Tensors {
	schemaVersion: number;
	tensors: Record<string, unknown>[];
}
