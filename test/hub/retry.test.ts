import { expect, test } from "vitest";
import { InterruptedError, NetworkError } from "../../src/errors.ts";
import { PassingFailure, Patience, serverWaitMs } from "../../src/hub/retry.ts";

const NOW = Date.parse("2026-01-01T00:00:00Z");
const FAULT = { where: "x", what: "it failed" };

test.each([
	["nothing", {}, null],
	["seconds", { "Retry-After": "7" }, 7000],
	["a date", { "Retry-After": "Thu, 01 Jan 2026 00:00:30 GMT" }, 30_000],
	[
		"a date that is over",
		{ "Retry-After": "Wed, 31 Dec 2025 23:59:00 GMT" },
		0,
	],
	["rubbish", { "Retry-After": "soon" }, null],
	["the window's end", { RateLimit: '"resolvers";r=0;t=55' }, 56_000],
	[
		"the window's end first",
		{ RateLimit: '"api";r=0;t=5', "Retry-After": "99" },
		6000,
	],
	["a window with requests left", { RateLimit: '"api";r=9;t=55' }, null],
	[
		"the window that is used up",
		{ RateLimit: '"api";r=9;t=55, "resolvers";r=0;t=3' },
		4000,
	],
] as [string, Record<string, string>, number | null][])(
	"case 190: how long a server asks to wait: %s",
	(_, headers, wait) => {
		expect(serverWaitMs(new Headers(headers), NOW)).toBe(wait);
	},
);

function patience(retry = {}, signal?: AbortSignal) {
	const notices: string[] = [];
	const policy = {
		...{ attempts: 3, firstWaitMs: 0, longestWaitMs: 0 },
		...{ longestServerWaitMs: 60_000, ...retry },
	};
	const onNotice = (notice: string) => notices.push(notice);
	return { notices, it: new Patience({ retry: policy, onNotice }, signal) };
}

test("case 191: failures are counted from the last progress on", async () => {
	const { it } = patience();
	for (let round = 0; round < 5; round++) {
		await it.after(new PassingFailure(FAULT), true);
		await it.after(new PassingFailure(FAULT));
	}
	await it.after(new PassingFailure(FAULT), true);
	await it.after(new PassingFailure(FAULT));
	const error = await it.after(new PassingFailure(FAULT)).catch((e) => e);
	expect(error).toBeInstanceOf(NetworkError);
	expect(error.message).toMatch(/^x: it failed \(tried 3 times\)\. Run/);
});

test("case 198: what crawls has won nothing", async () => {
	const { it } = patience();
	const crawl = new PassingFailure(FAULT, null, true);
	await it.after(crawl, true);
	await it.after(crawl, true);
	await expect(it.after(crawl, true)).rejects.toBeInstanceOf(NetworkError);
});

test("case 190: a wait that is too long is not waited for", async () => {
	const { it } = patience();
	const error = await it
		.after(new PassingFailure(FAULT, 10 ** 12))
		.catch((e) => e);
	expect(error).toBeInstanceOf(NetworkError);
	expect(error.message).toContain("it asks to wait 1000000000 s");
});

test("a long wait is told, and an interruption ends it", async () => {
	const controller = new AbortController();
	const { it, notices } = patience({}, controller.signal);
	const waiting = it.after(new PassingFailure(FAULT, 50_000));
	expect(notices).toEqual(["x: it failed; waiting 50 s before the next try"]);
	controller.abort();
	await expect(waiting).rejects.toBeInstanceOf(InterruptedError);
});

test("what does not pass is not tried again", async () => {
	const error = new Error("bug");
	await expect(patience().it.after(error)).rejects.toBe(error);
});
