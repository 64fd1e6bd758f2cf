import { afterAll, beforeAll, expect, test } from "vitest";
import { type LocalHub, startLocalHub } from "./local-hub.ts";

let hub: LocalHub;
beforeAll(async () => {
	hub = await startLocalHub({
		repos: {
			"org/open": {
				files: { "t.txt": "0123456789", "e.txt": "", "w.bin": "w" },
			},
			"org/private": { files: { "t.txt": "x" }, private: true },
			"org/gated": { files: { "t.txt": "x" }, gated: true },
		},
		tokens: { hf_member: ["org/private", "org/gated"], hf_other: [] },
	});
});
afterAll(() => hub.close());

const FILE = "resolve/main/t.txt";
test.each([
	["", `org/open/${FILE}`, 200, null],
	["hf_other", `org/open/${FILE}`, 200, null],
	["hf_wrong", `org/open/${FILE}`, 401, null],
	["", `org/none/${FILE}`, 401, "RepoNotFound"],
	["hf_other", `org/none/${FILE}`, 404, "RepoNotFound"],
	["", `org/private/${FILE}`, 401, "RepoNotFound"],
	["hf_other", `org/private/${FILE}`, 404, "RepoNotFound"],
	["hf_member", `org/private/${FILE}`, 200, null],
	["", "api/models/org/private", 401, "RepoNotFound"],
	["", `org/gated/${FILE}`, 401, "GatedRepo"],
	["hf_other", `org/gated/${FILE}`, 403, "GatedRepo"],
	["hf_member", `org/gated/${FILE}`, 200, null],
	["", "api/models/org/gated", 200, null],
	["", "api/models/org/gated/tree/main", 200, null],
	["", "org/open/resolve/v9/t.txt", 404, "RevisionNotFound"],
	["", "api/models/org/open/revision/v9", 404, "RevisionNotFound"],
	["", "org/open/resolve/main/none", 404, "EntryNotFound"],
	["", "org/open/raw/main/none", 404, "EntryNotFound"],
])("with token '%s' %s is %i %s", async (token, path, status, code) => {
	const headers = token === "" ? {} : { Authorization: `Bearer ${token}` };
	const answer = await fetch(`${hub.endpoint}/${path}`, { headers });
	expect(answer.status).toBe(status);
	expect(answer.headers.get("x-error-code")).toBe(code);
	expect(answer.headers.get("x-request-id")).toMatch(/^Root=/);
	if (status >= 400) {
		const message = answer.headers.get("x-error-message");
		expect(await answer.json()).toEqual({ error: message });
	}
	const wantsCommit =
		code === "EntryNotFound" || (status === 200 && !path.startsWith("api"));
	expect(answer.headers.has("x-repo-commit")).toBe(wantsCommit);
});

test.each([
	["bytes=2-4", 206, "bytes 2-4/10", "234"],
	["bytes=0-0", 206, "bytes 0-0/10", "0"],
	["bytes=7-", 206, "bytes 7-9/10", "789"],
	["bytes=7-99", 206, "bytes 7-9/10", "789"],
	["bytes=-3", 206, "bytes 7-9/10", "789"],
	["bytes=-99", 206, "bytes 0-9/10", "0123456789"],
	["bytes=10-", 416, "bytes */10", null],
	["bytes=-0", 416, "bytes */10", null],
	["bytes=4-2", 200, null, "0123456789"],
	["bytes=-", 200, null, "0123456789"],
	["bytes=0-1,4-5", 200, null, "0123456789"],
	["lines=0-1", 200, null, "0123456789"],
])("a range %s gets %i %s", async (range, status, contentRange, body) => {
	const url = `${hub.endpoint}/org/open/${FILE}`;
	const answer = await fetch(url, { headers: { Range: range } });
	expect(answer.status).toBe(status);
	expect(answer.headers.get("content-range")).toBe(contentRange);
	expect(answer.headers.get("accept-ranges")).toBe(
		status === 416 ? null : "bytes",
	);
	const text = await answer.text();
	if (body !== null) {
		expect(text).toBe(body);
		expect(answer.headers.get("content-length")).toBe(String(body.length));
	}
});

test("an empty file has no range, and a whole", async () => {
	const url = `${hub.endpoint}/org/open/resolve/main/e.txt`;
	const first = await fetch(url, { headers: { Range: "bytes=0-0" } });
	expect(first.status).toBe(416);
	const whole = await fetch(url);
	expect([whole.status, await whole.text()]).toEqual([200, ""]);
});

test("If-Range and If-Match hold a range to one state of the file", async () => {
	const url = `${hub.endpoint}/org/open/${FILE}`;
	const etag = (await fetch(url)).headers.get("etag") ?? "";
	const status = async (headers: Record<string, string>) =>
		(await fetch(url, { headers: { Range: "bytes=1-2", ...headers } })).status;
	expect(await status({ "If-Range": etag })).toBe(206);
	expect(await status({ "If-Range": '"other"' })).toBe(200);
	expect(await status({ "If-Range": `W/${etag}` })).toBe(200);
	expect(await status({ "If-Match": etag })).toBe(206);
	expect(await status({ "If-Match": '"other"' })).toBe(412);
});

test("raw is the pointer of what is in LFS, and a HEAD has no body", async () => {
	const url = `${hub.endpoint}/org/open/raw/main/w.bin`;
	const sha256 =
		"50e721e49c013f00c62cf59f2163542a9d8df02464efeb615d31051b0fddc326"; // sha256sum
	expect(await (await fetch(url)).text()).toBe(
		`version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize 1\n`,
	);
	const head = await fetch(`${hub.endpoint}/org/open/${FILE}`, {
		method: "HEAD",
	});
	expect(head.headers.get("content-length")).toBe("10");
	expect(await head.text()).toBe("");
});
