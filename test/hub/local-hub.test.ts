import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import {
	downloadFile,
	fileDownloadInfo,
	type ListFileEntry,
	listFiles,
	modelInfo,
	pathsInfo,
} from "@huggingface/hub";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type LocalHub, startLocalHub } from "./local-hub.ts";
import { filesOfFolder } from "./stored-bytes.ts";

const FIXTURE = fileURLToPath(
	new URL("../../fixtures/llama-f16/delta", import.meta.url),
);
const WEIGHTS = Uint8Array.from({ length: 5000 }, (_, i) => (i * 7) % 251);
const SHA256 = createHash("sha256").update(WEIGHTS).digest("hex");
const HELLO_BLOB = "ce013625030ba8dba906f756967f9e9ca394464a"; // git hash-object

let hub: LocalHub;
beforeEach(async () => {
	hub = await startLocalHub({
		repos: {
			"org/model": {
				files: {
					"README.md": "hello\n",
					"a/config.json": '{"model_type":"llama"}',
					"a/b/empty.txt": "",
					"model.safetensors": WEIGHTS,
				},
				commits: [{ "README.md": "hello\n" }],
				refs: { "v1.0": 0, "refs/pr/1": { "README.md": "proposed\n" } },
			},
			"org/plain": { files: { "model.bin": WEIGHTS }, xet: false },
			"org/private": { files: { "config.json": "{}" }, private: true },
			"org/gated": { files: { "config.json": "{}" }, gated: true },
		},
		tokens: { hf_member: ["org/private", "org/gated"], hf_other: [] },
		pageSize: 2,
	});
});
afterEach(() => hub.close());

const at = (file: string, repo = "org/model", revision = "main") =>
	`${hub.endpoint}/${repo}/resolve/${revision}/${file}`;
const byManual = (url: string, init: RequestInit = {}) =>
	fetch(url, { redirect: "manual", ...init });

test("its model info resolves every kind of revision", async () => {
	const info = async (revision?: string) => {
		const { sha, gated } = await modelInfo({
			name: "org/model",
			hubUrl: hub.endpoint,
			additionalFields: ["sha"],
			...(revision !== undefined && { revision }),
		});
		expect(gated).toBe(false);
		return sha;
	};
	const head = hub.commitOf("org/model");
	expect(head).toMatch(/^[0-9a-f]{40}$/);
	expect(await info()).toBe(head);
	expect(await info("main")).toBe(head);
	expect(await info(head)).toBe(head);
	const others = [await info("v1.0"), await info("refs/pr/1")];
	expect(new Set([head, ...others]).size).toBe(3);
	await expect(info("v2.0")).rejects.toThrow("Invalid rev id: v2.0");
});

test("its tree comes in pages, with last commits before the head", async () => {
	const entries: ListFileEntry[] = [];
	const asked = { repo: "org/model", recursive: true, expand: true };
	for await (const entry of listFiles({ ...asked, hubUrl: hub.endpoint }))
		entries.push(entry);
	expect(entries.map(({ type, path, size }) => [type, path, size])).toEqual([
		["file", "README.md", 6],
		["directory", "a", 0],
		["directory", "a/b", 0],
		["file", "a/b/empty.txt", 0],
		["file", "a/config.json", 22],
		["file", "model.safetensors", 5000],
	]);
	expect(hub.requests).toHaveLength(3);
	expect(entries[0]?.oid).toBe(HELLO_BLOB);
	expect(entries[5]?.lfs).toMatchObject({ oid: SHA256, size: 5000 });
	const lastCommits = entries.map(({ lastCommit }) => lastCommit?.id);
	expect(lastCommits[0]).toBe(hub.commitOf("org/model", "v1.0"));
	expect(lastCommits[5]).not.toBe(lastCommits[0]);
	expect(lastCommits).not.toContain(hub.commitOf("org/model"));
});

test("it lists one folder alone", async () => {
	const url = `${hub.endpoint}/api/models/org/model/tree/main`;
	const list = async (tail: string) => (await fetch(url + tail)).json();
	expect(await list("/a")).toMatchObject([
		{ path: "a/b", type: "directory" },
		{ path: "a/config.json", type: "file" },
	]);
	expect(await list("/none")).toEqual({ error: "none does not exist" });
});

test("it knows of paths, asked as JSON and as a form", async () => {
	const found = await pathsInfo({
		repo: "org/model",
		paths: ["model.safetensors", "none", "README.md"],
		expand: true,
		hubUrl: hub.endpoint,
	});
	expect(found.map((e) => [e.path, e.size, e.lfs?.oid])).toEqual([
		["README.md", 6, undefined],
		["model.safetensors", 5000, SHA256],
	]);
	expect(found[0]?.lastCommit.id).not.toBe(hub.commitOf("org/model"));
	const form = new URLSearchParams({ paths: "README.md", expand: "false" });
	form.append("paths", "a/config.json");
	const url = `${hub.endpoint}/api/models/org/model/paths-info/main`;
	const answer = await fetch(url, { method: "POST", body: form });
	const entries = (await answer.json()) as ListFileEntry[];
	expect(entries.map((e) => [e.path, e.lastCommit])).toEqual([
		["README.md", undefined],
		["a/config.json", undefined],
	]);
});

test("its files can be downloaded, small ones and weights", async () => {
	const download = async (path: string, revision: string) =>
		downloadFile({
			repo: "org/model",
			path,
			revision,
			xet: false,
			hubUrl: hub.endpoint,
		});
	const small = await download("README.md", "refs/pr/1");
	expect(await small?.text()).toBe("proposed\n");
	expect(await download("model.safetensors", "v1.0")).toBe(null);
	const weights = await download("model.safetensors", "main");
	expect(weights?.size).toBe(5000);
	const bytes = await weights?.arrayBuffer();
	expect(Buffer.from(bytes ?? new ArrayBuffer())).toEqual(Buffer.from(WEIGHTS));
	const slice = await weights?.slice(100, 200).arrayBuffer();
	expect(Buffer.from(slice ?? new ArrayBuffer())).toEqual(
		Buffer.from(WEIGHTS).subarray(100, 200),
	);
});

test("it tells where a file is: itself, in Xet, or at a signed address", async () => {
	const info = (repo: string, path: string) =>
		fileDownloadInfo({ repo, path, hubUrl: hub.endpoint });
	const small = await info("org/model", "README.md");
	expect(small).toMatchObject({ etag: `"${HELLO_BLOB}"`, size: 6 });
	const xet = await info("org/model", "model.safetensors");
	expect(xet).toMatchObject({ etag: `"${SHA256}"`, size: 5000 });
	expect(xet?.xet?.hash).toMatch(/^[0-9a-f]{64}$/);
	const plain = await info("org/plain", "model.bin");
	expect(plain?.size).toBe(5000);
	expect(plain?.xet).toBe(undefined);
	expect(plain?.etag).not.toContain(SHA256);
	expect(plain?.url.startsWith(`${hub.cdn}/org/plain/`)).toBe(true);
});

test("it sends to another host name what is in LFS, and says what it is", async () => {
	const answer = await byManual(at("model.safetensors"), { method: "HEAD" });
	expect(answer.status).toBe(302);
	expect(answer.headers.get("x-repo-commit")).toBe(hub.commitOf("org/model"));
	expect(answer.headers.get("x-linked-size")).toBe("5000");
	expect(answer.headers.get("x-linked-etag")).toBe(`"${SHA256}"`);
	const to = new URL(answer.headers.get("location") ?? "");
	expect(to.hostname).not.toBe(new URL(hub.endpoint).hostname);
	const headers = { Authorization: "Bearer hf_member", Range: "bytes=4990-" };
	const part = await fetch(at("model.safetensors"), { headers });
	expect(part.headers.get("content-range")).toBe("bytes 4990-4999/5000");
	expect(Buffer.from(await part.arrayBuffer())).toEqual(
		Buffer.from(WEIGHTS.slice(4990)),
	);
	const [atHub, atStore] = hub.requests.slice(-2);
	expect(atHub).toMatchObject({ origin: "endpoint", method: "GET" });
	expect(atHub?.headers.authorization).toBe("Bearer hf_member");
	expect(atStore?.origin).toBe("cdn");
	expect(atStore?.headers.authorization).toBe(undefined);
	expect((await fetch(to, { headers })).status).toBe(400);
});

test("its signed addresses are its own, and expire", async () => {
	const sign = async () => {
		const answer = await byManual(at("model.safetensors"));
		return answer.headers.get("location") ?? "";
	};
	const url = await sign();
	expect((await fetch(url)).status).toBe(200);
	expect((await fetch(url.replace("Expires=1", "Expires=2"))).status).toBe(403);
	hub.expireUrls();
	const late = await fetch(url);
	expect(late.status).toBe(403);
	expect(await late.text()).toContain("Request has expired");
	expect((await fetch(await sign())).status).toBe(200);
});

test("a signed address is good for as long as was said", async () => {
	const files = { "model.bin": WEIGHTS };
	const short = await startLocalHub({
		repos: { "org/model": { files } },
		urlSeconds: -2,
	});
	const url = `${short.endpoint}/org/model/resolve/main/model.bin`;
	const late = await fetch(url);
	expect(await late.text()).toContain("Request has expired");
	await short.close();
});

test("a later commit moves main and leaves what was before", async () => {
	const before = hub.commitOf("org/plain");
	const files = { "model.bin": WEIGHTS, "note.txt": "new" };
	const after = await hub.commit("org/plain", files);
	expect(hub.commitOf("org/plain")).toBe(after);
	const answer = await fetch(at("note.txt", "org/plain"));
	expect(answer.headers.get("x-repo-commit")).toBe(after);
	expect((await fetch(at("note.txt", "org/plain", before))).status).toBe(404);
	const all = await pathsInfo({
		repo: "org/plain",
		paths: Object.keys(files),
		expand: true,
		hubUrl: hub.endpoint,
	});
	expect(all[1]?.lastCommit.id).toBe(after);
	expect(all[0]?.lastCommit.id).not.toBe(after);
});

test("a folder of the disk is served as it is", async () => {
	const files = await filesOfFolder(FIXTURE);
	const served = await startLocalHub({
		repos: { "local/delta": { files } },
		redirectSmallFiles: true,
	});
	for (const name of Object.keys(files)) {
		const url = `${served.endpoint}/local/delta/resolve/main/${name}`;
		const got = Buffer.from(await (await fetch(url)).arrayBuffer());
		expect(got.equals(await readFile(path.join(FIXTURE, name))), name).toBe(
			true,
		);
	}
	const hops = served.requests.filter((r) => r.url.includes("/resolve-cache/"));
	expect(hops.length).toBeGreaterThan(2);
	await served.close();
});
