import { gunzipSync } from "node:zlib";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Fault } from "./faults.ts";
import { type LocalHub, startLocalHub } from "./local-hub.ts";
import { RawRequest } from "./raw-request.ts";

const TEXT = "0123456789".repeat(10);

let hub: LocalHub;
let url: string;
beforeEach(async () => {
	hub = await startLocalHub({
		repos: { "org/m": { files: { t: TEXT, "w.bin": TEXT } } },
	});
	url = `${hub.endpoint}/org/m/resolve/main/t`;
});
afterEach(() => hub.close().catch(() => {}));

const ask = (fault: Fault) => {
	hub.fail(/resolve\/main\/t/, fault);
	return new RawRequest(url, { Range: "bytes=10-19" }).whole();
};

test("faults come in the order they were written, each as often as said", async () => {
	hub.fail(/\/t$/, { kind: "pass" });
	hub.fail(/^GET .*\/t$/, { kind: "status", status: 503 }, 2);
	hub.fail(/\/t$/, { kind: "status", status: 408, headers: { "X-A": "b" } });
	const statuses: number[] = [];
	for (let i = 0; i < 5; i++) statuses.push((await fetch(url)).status);
	expect(statuses).toEqual([200, 503, 503, 408, 200]);
	expect(hub.requests.map(({ fault }) => fault)).toEqual([
		"pass",
		"status",
		"status",
		"status",
		"pass",
	]);
	hub.fail(/^POST /, { kind: "status", status: 500 });
	expect((await fetch(url)).status).toBe(200);
});

test.each([["5"], ["Fri, 31 Dec 1999 23:59:59 GMT"], ["1000000000"]])(
	"429 says when to come again: %s",
	async (retryAfter) => {
		const answer = await ask({ kind: "rate-limited", retryAfter });
		expect(answer.status).toBe(429);
		expect(answer.header("retry-after")).toEqual([retryAfter]);
		expect(answer.header("ratelimit")).toEqual([]);
	},
);

test("429 says it in the hub's own way, or not at all", async () => {
	const own = await ask({ kind: "rate-limited", seconds: 7 });
	expect(own.header("retry-after")).toEqual([]);
	expect(own.header("ratelimit")).toEqual(['"resolvers";r=0;t=7']);
	const none = await ask({ kind: "rate-limited" });
	expect([none.status, none.header("ratelimit")]).toEqual([429, []]);
	const usual = await new RawRequest(url).whole();
	expect(usual.header("ratelimit")[0]).toMatch(/^"resolvers";r=29\d\d;t=/);
});

test.each<[string, string | null | ((right: string) => string), string[]]>([
	["absent", null, []],
	["malformed", "bytes 10-/x", ["bytes 10-/x"]],
	["of another size", (s) => s.replace("/100", "/99"), ["bytes 10-19/99"]],
])("a Content-Range that is %s", async (_, change, expected) => {
	const set = { "content-range": change };
	const answer = await ask({ kind: "headers", set });
	expect(answer.status).toBe(206);
	expect(answer.header("content-range")).toEqual(expected);
	expect(answer.body.toString()).toBe("0123456789");
});

test("headers can be changed, made weak, doubled and contradict", async () => {
	const answer = await ask({
		kind: "headers",
		set: {
			ETag: (right) => `W/${right}`,
			"Content-Length": ["10", "-5"],
			"Transfer-Encoding": "chunked",
		},
	});
	expect(answer.header("etag")[0]).toMatch(/^W\/"[0-9a-f]{40}"$/);
	expect(answer.header("content-length")).toEqual(["10", "-5"]);
	expect(answer.header("transfer-encoding")).toEqual(["chunked"]);
	expect(answer.body.toString()).toBe("0123456789");
});

test("a mirror tells nothing of its own", async () => {
	hub.fail(/w\.bin/, { kind: "mirror" });
	const weights = new RawRequest(url.replace(/t$/, "w.bin"));
	const answer = await weights.whole();
	expect(answer.status).toBe(302);
	expect(answer.header("location")[0]).toContain(hub.cdn);
	for (const name of ["etag", "size"])
		expect(answer.header(`x-linked-${name}`)).toEqual([]);
	expect(answer.header("x-repo-commit")).toEqual([]);
});

test("a range is ignored", async () => {
	const answer = await ask({ kind: "ignore-range" });
	expect([answer.status, answer.header("content-range")]).toEqual([200, []]);
	expect(answer.header("content-length")).toEqual(["100"]);
	expect(answer.body.toString()).toBe(TEXT);
});

test.each([
	[3, false, "bytes 13-22/100"],
	[-4, false, "bytes 6-15/100"],
	[3, true, "bytes 10-19/100"],
])("another range, by %i, lying: %s", async (shift, lying, said) => {
	const answer = await ask({ kind: "other-range", shift, lying });
	expect([answer.status, answer.header("content-range")]).toEqual([
		206,
		[said],
	]);
	expect(answer.body.toString()).toBe(TEXT.slice(10 + shift, 20 + shift));
});

test("a range comes as multipart", async () => {
	const answer = await ask({ kind: "multipart" });
	expect([answer.status, answer.header("content-range")]).toEqual([206, []]);
	expect(answer.header("content-type")[0]).toMatch(/^multipart\/byteranges/);
	const body = answer.body.toString();
	expect(body).toContain(
		"Content-Range: bytes 10-19/100\r\n\r\n0123456789\r\n--",
	);
	expect(answer.header("content-length")).toEqual([String(body.length)]);
});

test.each<[string | null | undefined, string[]]>([
	[undefined, ["bytes */100"]],
	["bytes */10", ["bytes */10"]],
	[null, []],
])("416 with %s", async (contentRange, said) => {
	const fault = { kind: "range-not-satisfiable" } as const;
	const answer = await ask(
		contentRange === undefined ? fault : { ...fault, contentRange },
	);
	expect([answer.status, answer.header("content-range")]).toEqual([416, said]);
});

test("compression that nobody asked for, whole and cut", async () => {
	const whole = await ask({ kind: "gzip" });
	expect(whole.header("content-encoding")).toEqual(["gzip"]);
	expect(whole.header("content-range")).toEqual(["bytes 10-19/100"]);
	expect(gunzipSync(whole.body).toString()).toBe("0123456789");
	const cut = await ask({ kind: "gzip", keep: 15 });
	expect([cut.body.length, cut.header("content-length")]).toEqual([15, ["15"]]);
	expect(() => gunzipSync(cut.body)).toThrow("unexpected end of file");
});

test("one bit is another, where it is in the range", async () => {
	const inside = await ask({ kind: "bit-flip", at: 12 });
	expect(inside.body.toString()).toBe("0133456789");
	const outside = await ask({ kind: "bit-flip", at: 9 });
	expect(outside.body.toString()).toBe("0123456789");
});

test("a page for people, with its own length or the file's", async () => {
	const page = await ask({ kind: "html" });
	expect([page.status, page.header("content-length")]).toEqual([200, ["67"]]);
	expect(page.body.toString()).toMatch(/^<!doctype html>/);
	const same = await ask({ kind: "html", sameLength: true });
	expect(same.body.toString()).toBe("<!doctype ");
});

test("a shorter body, with a length that agrees", async () => {
	const answer = await ask({ kind: "truncate", bytes: 4 });
	expect(answer.header("content-range")).toEqual(["bytes 10-19/100"]);
	expect(answer.header("content-length")).toEqual(["4"]);
	expect(answer.body.toString()).toBe("0123");
});

test.each([
	"/relative/path",
	"file:///etc/passwd",
	"http://169.254.169.254/latest/meta-data/",
	"http://other.invalid/t",
])("a redirect to %s", async (to) => {
	const answer = await ask({ kind: "redirect", to, status: 307 });
	expect([answer.status, answer.header("location")]).toEqual([307, [to]]);
});

test("a redirect to itself is a loop", async () => {
	hub.fail(/resolve/, { kind: "redirect" }, Infinity);
	const error = await fetch(url).catch((e) => e);
	expect(error.cause.message).toBe("redirect count exceeded");
	expect(hub.requests.length).toBe(21);
});

test("a signed address expires in the middle of a file", async () => {
	const weights = url.replace(/t$/, "w.bin");
	hub.fail(/^GET http:\/\/localhost/, { kind: "fin", afterBytes: 30 });
	hub.fail(/^GET http:\/\/localhost/, { kind: "expired-url" });
	const first = await fetch(weights);
	await expect(first.text()).rejects.toThrow("terminated");
	const headers = { Range: "bytes=30-" };
	const second = await fetch(first.url, { headers });
	expect(second.status).toBe(403);
	expect(await second.text()).toContain("Request has expired");
	const third = await fetch(weights, { headers });
	expect([third.status, await third.text()]).toEqual([206, TEXT.slice(30)]);
});

test("a fault that does not fit its answer is not hidden", async () => {
	hub.fail(/api\/models/, { kind: "ignore-range" });
	const answer = await fetch(`${hub.endpoint}/api/models/org/m`);
	expect(await answer.text()).toContain("this fault needs a file");
	await expect(hub.close()).rejects.toThrow("this fault needs a file");
});
