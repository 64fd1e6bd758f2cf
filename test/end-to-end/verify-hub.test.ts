import {
	appendFile,
	copyFile,
	readdir,
	readFile,
	writeFile,
} from "node:fs/promises";
import path from "node:path";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { openHub } from "../hub/open-hub.ts";
import { filesOfFolder } from "../hub/stored-bytes.ts";
import { stateOf, useMergedModel } from "./merged-model.ts";
import { cleanEnvironment } from "./model-hub.ts";
import { memoryFolder, run } from "./run.ts";

const REPO = "org/merged";
const mergedModel = useMergedModel();
let cache: string;
beforeEach(async () => {
	cache = await cleanEnvironment();
});

/** A hub with a merged model, and a list of its checksums that lies elsewhere. */
async function publishedModel(more: Record<string, string> = {}) {
	const out = await mergedModel();
	const list = path.join(await memoryFolder(), "SHA256SUMS");
	await copyFile(path.join(out, "SHA256SUMS"), list);
	const files = { ...(await filesOfFolder(out)), ...more };
	const hub = await openHub({
		...{ repos: { [REPO]: { files } }, tokens: { hf_reader: [] } },
	});
	vi.stubEnv("HF_ENDPOINT", hub.endpoint);
	return { hub, list };
}

/** Spoil what the cache holds of the weights. */
async function spoilCache() {
	const blobs = path.join(cache, "models--org--merged", "blobs");
	for (const name of await readdir(blobs))
		if (name.length === 64) {
			const bytes = await readFile(path.join(blobs, name));
			bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
			await writeFile(path.join(blobs, name), bytes);
		}
}

describe("a repository", () => {
	test("is fetched, and matches a list", async () => {
		const { list } = await publishedModel({ "README.md": "# hello" });
		const result = await run("verify", REPO, "--expect", list);
		expect(result.stderr).not.toContain("error");
		expect(result.stdout).toMatch(
			/^merge-delta\.json: OK$[\s\S]*^verified org\/merged: 9 files, index/m,
		);
		expect(result.exitCode).toBe(0);
	});

	test("case 204: with another file than is listed", async () => {
		const { list } = await publishedModel({ "config.json": "{}" });
		const { exitCode, stdout } = await run("verify", REPO, "--expect", list);
		expect(stdout).toContain("config.json: FAILED\n");
		expect(exitCode).toBe(1);
	});

	test("case 205: without a file that is listed", async () => {
		const { list } = await publishedModel();
		await appendFile(list, `${"0".repeat(64)}  more.json\n`);
		const { exitCode, stdout } = await run("verify", REPO, "--expect", list);
		expect(stdout).toContain("more.json: FAILED open or read\n");
		expect(exitCode).toBe(1);
	});

	test("case 206: with a file more that a model is loaded from", async () => {
		const { list } = await publishedModel({ "added_tokens.json": "{}" });
		const { exitCode, stdout } = await run("verify", REPO, "--expect", list);
		expect(stdout).toContain("added_tokens.json: not in SHA256SUMS");
		expect(exitCode).toBe(1);
	});

	test("a list that makes no sense is told before anything is asked or fetched", async () => {
		const { hub, list } = await publishedModel();
		await writeFile(list, `${"0".repeat(32)}  a\n`);
		expect((await run("verify", REPO, "--expect", list)).exitCode).toBe(3);
		expect(hub.requests).toEqual([]);
		expect(await stateOf(cache)).toEqual([]);
	});

	test("without a list has the Hub's own checksums, which is said of the files that have none", async () => {
		await publishedModel();
		const { exitCode, stdout, stderr } = await run("verify", REPO, "--json");
		expect(exitCode).toBe(0);
		const { files, warnings } = JSON.parse(stdout);
		expect(files.length).toBeGreaterThan(0);
		expect(warnings[0]).toMatch(/tells no SHA-256 of .*config\.json/);
		expect(stderr).toContain("only --expect can verify them");
	});

	test("case 204: a cache that another program has spoilt", async () => {
		const { list } = await publishedModel();
		expect((await run("verify", REPO)).exitCode).toBe(0);
		await spoilCache();
		for (const flags of [[], ["--expect", list], ["--offline"]]) {
			const { exitCode, stdout } = await run("verify", REPO, ...flags);
			expect(stdout).toMatch(/^model-.*safetensors: FAILED$/m);
			expect(exitCode).toBe(1);
		}
	});

	test("a list of its tensors", async () => {
		const out = await mergedModel();
		await publishedModel();
		const list = path.join(await memoryFolder(), "tensors.json");
		const told = await run("inspect", REPO, "--digests", "--json");
		// Of bytes that were checked: they were fetched first.
		const blobs = path.join(cache, "models--org--merged", "blobs");
		expect(await readdir(blobs)).not.toEqual([]);
		const local = await run("inspect", out, "--digests", "--json");
		const { tensors } = JSON.parse(told.stdout);
		expect(tensors).toEqual(JSON.parse(local.stdout).tensors);
		await writeFile(list, told.stdout);
		expect((await run("verify", out, "--tensors", list)).exitCode).toBe(0);
		expect((await run("verify", REPO, "--tensors", list)).exitCode).toBe(0);
	});

	test("is verified and listed at the revision that a flag names, with a token that one gives", async () => {
		const { hub, list } = await publishedModel();
		const first = hub.commitOf(REPO);
		await hub.commit(REPO, { "config.json": "{}" });
		const at = (revision: string) => ["--revision", revision];
		const token = ["--token", "hf_reader"];
		const verified = (...flags: string[]) =>
			run("verify", REPO, "--expect", list, ...flags);
		expect((await verified(...at(first), ...token)).exitCode).toBe(0);
		expect((await verified(...at("main"))).exitCode).toBe(1);
		const tokens = hub.requests.map(({ headers }) => headers.authorization);
		expect(tokens).toContain("Bearer hf_reader");
		const args = [REPO, ...at(first), "--digests", "--json"];
		const { exitCode, stdout } = await run("inspect", ...args);
		expect(exitCode).toBe(0);
		const [tensor] = JSON.parse(stdout).tensors;
		expect(tensor.sha256).toMatch(/^[0-9a-f]{64}$/);
		const twice = await run("verify", `${REPO}@main`, ...at(first));
		expect(twice.stderr).toContain("--revision: org/merged@main names a");
		expect(twice.exitCode).toBe(2);
	});

	test("is compared with a folder", async () => {
		const out = await mergedModel();
		await publishedModel();
		const { exitCode, stdout } = await run("compare", REPO, out);
		expect(stdout).toBe("same 21 tensors, 43,680 elements\n");
		expect(exitCode).toBe(0);
	});
});
