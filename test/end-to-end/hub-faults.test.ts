import { readdir } from "node:fs/promises";
import path from "node:path";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import type { Fault } from "../hub/faults.ts";
import { passingFaults } from "../hub/passing-faults.ts";
import {
	BASE,
	cleanEnvironment,
	DELTA,
	modelHub,
	STORE,
	TOKEN,
} from "./model-hub.ts";
import { memoryFolder, run } from "./run.ts";

vi.setConfig({ testTimeout: 30_000 });

/** Fewer bytes than any weight file of the fixture has. */
const SIZE = 20_000;
const TRIES = 6;
let cache: string;

beforeEach(async () => {
	cache = await cleanEnvironment();
	vi.stubEnv("HF_TOKEN", TOKEN);
	vi.stubEnv("HF_HUB_DOWNLOAD_TIMEOUT", "1");
	// Waits between tries are drawn, up to so many seconds.
	const random = vi.spyOn(Math, "random").mockReturnValue(0);
	onTestFinished(() => random.mockRestore());
});

describe("a fetch goes on after", () => {
	test.each(passingFaults(SIZE))("%s", async (_, fault) => {
		const hub = await modelHub();
		hub.fail(STORE, fault, 2);
		const { exitCode, stderr } = await run("fetch", DELTA);
		expect(exitCode, stderr).toBe(0);
		expect(hub.requests.map((request) => request.fault)).toContain(fault.kind);
		expect((await run("cache", "verify", DELTA)).exitCode).toBe(0);
	});
});

describe("a merge ends, with nothing at the output and nothing wrong in the cache, after", () => {
	const header = (name: string, value: string) => ({
		...{ kind: "headers" as const, set: { [name]: value } },
	});
	test.each<[string, Fault, number, string]>([
		["case 174: silence", { kind: "black-hole" }, 5, "no answer within"],
		["case 175: resets", { kind: "reset", afterBytes: 0 }, 5, "connection"],
		["case 176: early ends", { kind: "fin", afterBytes: 0 }, 5, "connection"],
		[
			"case 181: another range",
			{ kind: "other-range", shift: 5 },
			...([5, "came"] as const),
		],
		["case 182: several ranges", { kind: "multipart" }, 5, "which bytes"],
		[
			"case 183: a range of a file of another length",
			header("Content-Range", "bytes 0-1023/99999"),
			...([7, "bytes, not"] as const),
		],
		["case 185: no such range", { kind: "range-not-satisfiable" }, 5, "416"],
		["case 188: compressed bytes", { kind: "gzip" }, 5, "encoded (gzip)"],
		[
			"case 189: wrong bytes",
			{ kind: "bit-flip", at: 15_000 },
			1,
			"other bytes",
		],
		[
			"case 190: too many requests",
			{ kind: "rate-limited", retryAfter: "0" },
			...([5, "429"] as const),
		],
		[
			"case 191: a server that fails",
			{ kind: "status", status: 500 },
			5,
			"500",
		],
		["a store without it", { kind: "status", status: 404 }, 5, "404"],
		["case 194: redirects without end", { kind: "redirect" }, 5, "redirects"],
		[
			"case 194: a redirect to a file",
			{ kind: "redirect", to: "file:///etc/passwd" },
			...([5, "redirect"] as const),
		],
		["case 195: addresses that expire", { kind: "expired-url" }, 5, "403"],
	])("%s, each time", async (_, fault, code, says) => {
		const hub = await modelHub();
		hub.fail(STORE, fault, 999);
		const folder = await memoryFolder();
		const out = path.join(folder, "out");
		const sides = ["--base", BASE, "--delta", DELTA];
		const { exitCode, stderr } = await run(...sides, "--out", out);
		expect(stderr).toMatch(/^error .+\n$/m);
		expect(stderr).toContain(says);
		expect(stderr).not.toMatch(/Signature|hf_secret/);
		expect(exitCode, stderr).toBe(code);
		expect(await readdir(folder)).toEqual([]);
		const cached = await readdir(cache, { recursive: true });
		expect(cached.filter((name) => name.endsWith(".safetensors"))).toEqual([]);
		const store = hub.requests.filter(({ origin }) => origin === "cdn");
		expect(store.length).toBeLessThan(20 * TRIES);
	});
});
