import { describe, expect, test, vi } from "vitest";
import {
	InterruptedError,
	NetworkError,
	SourceChangedError,
} from "../../src/errors.ts";
import { readRange } from "../../src/hub/read-range.ts";
import type { Fault } from "./faults.ts";
import type { LocalHubOptions } from "./local-hub.ts";
import {
	gathered,
	listed,
	MODEL,
	openHub,
	settingsFor,
	someBytes,
} from "./open-hub.ts";
import { passingFaults } from "./passing-faults.ts";

vi.setConfig({ testTimeout: 30_000 });

const SIZE = 100_000;
const WEIGHTS = someBytes(SIZE);
const NAME = "model.safetensors";
const FILES = { [NAME]: WEIGHTS, "config.json": "{}" };
/** The store that the Hub sends to. */
const STORE = /^GET http:\/\/localhost/;

async function open(
	options: Partial<LocalHubOptions> = {},
	token: string | null = null,
) {
	const hub = await openHub({
		repos: { [MODEL]: { files: FILES } },
		...options,
	});
	const settings = {
		...(await settingsFor(hub, { token })),
		downloadTimeoutMs: 200,
	};
	const file = await listed(hub, settings, NAME);
	hub.requests.length = 0;
	const read = (begin = 0, end = SIZE, signal?: AbortSignal) =>
		gathered(readRange(settings, file, begin, end, signal));
	/** which bytes the store was asked for */
	const asked = () =>
		hub.requests.flatMap(({ origin, headers }) =>
			origin === "cdn" ? [headers.range] : [],
		);
	return { hub, settings, file, read, asked };
}

test.each([
	[0, SIZE],
	[0, 1],
	[SIZE - 1, SIZE],
	[12_345, 54_321],
])("bytes [%i, %i)", async (begin, end) => {
	const { read, asked } = await open();
	expect(await read(begin, end)).toEqual(
		Buffer.from(WEIGHTS.subarray(begin, end)),
	);
	expect(asked()).toEqual([`bytes=${begin}-${end - 1}`]);
});

test("nothing is asked for no bytes", async () => {
	const { read, hub } = await open();
	expect(await read(7, 7)).toHaveLength(0);
	expect(hub.requests).toEqual([]);
	await expect(read(7, SIZE + 1)).rejects.toBeInstanceOf(RangeError);
});

test("case 193: all is asked by the commit, unencoded, and the store sees no token", async () => {
	const { read, hub, file } = await open({ tokens: { hf_t: [MODEL] } }, "hf_t");
	await read();
	const [first, second] = hub.requests;
	expect(first).toMatchObject({
		origin: "endpoint",
		url: `${hub.endpoint}/${MODEL}/resolve/${file.commit}/${NAME}`,
	});
	expect(first?.headers.authorization).toBe("Bearer hf_t");
	expect(second?.origin).toBe("cdn");
	for (const name of ["authorization", "cookie"])
		expect(second?.headers).not.toHaveProperty(name);
	for (const { headers } of hub.requests)
		expect(headers["accept-encoding"]).toBe("identity");
});

describe("goes on after", () => {
	test.each(passingFaults(SIZE))("%s", async (_, fault) => {
		const { hub, read } = await open();
		hub.fail(STORE, fault, 2);
		const bytes = await read(100);
		expect(bytes.equals(WEIGHTS.subarray(100))).toBe(true);
		expect(hub.requests.map((request) => request.fault)).toContain(fault.kind);
	});

	test("case 175: a reset wherever it comes, at the byte where it came", async () => {
		const { hub, read, asked } = await open();
		for (let i = 0; i < 12; i++)
			hub.fail(STORE, { kind: "reset", afterBytes: 8000 });
		expect((await read()).equals(WEIGHTS)).toBe(true);
		// More failures than tries in a row: each brought some bytes, and none is asked for twice.
		expect(asked()).toHaveLength(13);
		const begins = asked().map((range) =>
			Number(/=(\d+)-/.exec(range ?? "")?.[1]),
		);
		expect(begins).toEqual([...begins].sort((a, b) => a - b));
		expect(new Set(begins).size).toBe(13);
	});

	test("case 184: 200 with the whole file, also where the middle is wanted", async () => {
		const { hub, read } = await open();
		hub.fail(STORE, { kind: "reset", afterBytes: 40_000 });
		hub.fail(STORE, { kind: "ignore-range" });
		expect((await read(10, 90_000)).equals(WEIGHTS.subarray(10, 90_000))).toBe(
			true,
		);
		hub.fail(STORE, { kind: "ignore-range" });
		expect(await read(7, 9)).toEqual(Buffer.from(WEIGHTS.subarray(7, 9)));
	});

	test("case 195: addresses that expire between two tries", async () => {
		const { hub, read } = await open();
		hub.fail(STORE, { kind: "reset", afterBytes: 40_000 });
		hub.fail(STORE, { kind: "expired-url" });
		expect((await read()).equals(WEIGHTS)).toBe(true);
		const signed = hub.requests.filter(({ origin }) => origin === "cdn");
		expect(signed).toHaveLength(3);
		expect(hub.requests).toHaveLength(6); // each by way of the Hub
	});
});

describe("gives up, with an error that says why, after", () => {
	test.each<[string, Fault, string]>([
		["resets", { kind: "reset", afterBytes: 0 }, "the connection failed"],
		["another range", { kind: "other-range", shift: 5 }, "bytes 5-99999 came"],
		["gzip", { kind: "gzip" }, "encoded (gzip)"],
		["404 of the store", { kind: "status", status: 404 }, "refused (404)"],
	])("%s again and again", async (_, fault, what) => {
		const { hub, read } = await open();
		hub.fail(STORE, fault, 99);
		const error = await read().catch((e) => e);
		expect(error).toBeInstanceOf(NetworkError);
		expect(error.message).toContain(what);
		expect(error.message).toContain(
			`org/model@${hub.commitOf(MODEL)}, ${NAME}`,
		);
		expect(error.message).not.toMatch(/Signature|Expires|\?/);
		expect(hub.requests.filter(({ origin }) => origin === "cdn")).toHaveLength(
			6,
		);
	});

	test("case 194: redirects without end", async () => {
		const { hub, read } = await open();
		hub.fail(STORE, { kind: "redirect" }, 99);
		const error = await read().catch((e) => e);
		expect(error).toBeInstanceOf(NetworkError);
		expect(error.message).toContain("more than 5 redirects");
		expect(error.message).not.toContain("Signature");
	});

	test.each<[string, Fault]>([
		[
			"206",
			{
				kind: "headers",
				set: { "Content-Range": (right) => right.replace(/\d+$/, "99") },
			},
		],
		["416", { kind: "range-not-satisfiable", contentRange: "bytes */5" }],
	])("case 183: another total size by %s, at once", async (_, fault) => {
		const { hub, read } = await open();
		hub.fail(STORE, fault);
		const error = await read().catch((e) => e);
		expect(error).toBeInstanceOf(SourceChangedError);
		expect(error.message).toMatch(/it has (99|5) bytes, not 100000/);
	});

	test("case 186: another ETag in the middle, at once", async () => {
		const { hub, read } = await open();
		hub.fail(STORE, { kind: "reset", afterBytes: 40_000 });
		hub.fail(STORE, { kind: "headers", set: { ETag: '"other"' } });
		const wrong = await read().catch((e) => e);
		expect(wrong).toBeInstanceOf(SourceChangedError);
		expect(wrong.message).toContain("ETag");
	});
});

test("case 187: only a strong ETag is sent back", async () => {
	const { hub, read } = await open();
	hub.fail(STORE, { kind: "reset", afterBytes: 40_000 });
	await read();
	const tags = () =>
		hub.requests.flatMap(({ origin, headers }) =>
			origin === "cdn" ? [headers["if-range"]] : [],
		);
	expect(tags()).toEqual([undefined, expect.stringMatching(/^"[0-9a-f]+"$/)]);

	hub.requests.length = 0;
	const weak = { ETag: (right: string) => `W/${right}` };
	hub.fail(STORE, {
		kind: "headers",
		set: { ...weak, "Content-Length": null },
	});
	hub.fail(STORE, { kind: "truncate", bytes: 10 });
	await read();
	expect(tags()[0]).toBeUndefined();
});

test("an interruption ends it", async () => {
	const { hub, settings, file } = await open();
	const controller = new AbortController();
	const bytes = readRange(settings, file, 0, SIZE, controller.signal);
	hub.fail(STORE, { kind: "stall", afterBytes: 40_000 });
	await bytes.next();
	const rest = gathered(bytes);
	controller.abort();
	await expect(rest).rejects.toBeInstanceOf(InterruptedError);
});

test("case 198: less than 1 kB a second is standing still, whatever it adds up to", async () => {
	const { read, hub } = await open();
	hub.fail(STORE, { kind: "packets", bytes: 100, everyMs: 1 }, 99);
	// Each look at the clock finds it ten seconds on.
	let now = 0;
	const clock = vi.spyOn(performance, "now");
	clock.mockImplementation(() => (now += 10_000));
	const error = await read().catch((e) => e);
	clock.mockRestore();
	expect(error).toBeInstanceOf(NetworkError);
	expect(error.message).toContain("less than 1024 bytes a second (tried 6");
});

test("a header that is no Latin is no fault", async () => {
	const { hub, read } = await open();
	const set = { "X-Name": "模型", "Content-Disposition": 'filename="模型"' };
	hub.fail(STORE, { kind: "headers", set });
	expect((await read()).equals(WEIGHTS)).toBe(true);
	expect(hub.requests).toHaveLength(2);
});

test("case 199: packets of one byte", async () => {
	const { hub, read } = await open();
	hub.fail(STORE, { kind: "packets", bytes: 1 });
	const bytes = await read(SIZE - 2000);
	expect(bytes.equals(WEIGHTS.subarray(SIZE - 2000))).toBe(true);
	expect(hub.requests).toHaveLength(2);
});

test("case 202: a file that is too long for plain HTTP says what to do", async () => {
	const { hub, settings, file } = await open();
	hub.fail(STORE, { kind: "status", status: 400 }, 99);
	const readOf = (byteLength: number) =>
		gathered(readRange(settings, { ...file, byteLength }, 0, 9)).catch(
			(e) => e,
		);
	const error = await readOf(50_000_000_001);
	expect(error).toBeInstanceOf(NetworkError);
	expect(error.message).toMatch(
		/refused \(400\) \(tried 6 times\)\. A file of more than 50 GB .* hf_xet/,
	);
	const { message } = await readOf(50_000_000_000);
	expect(message).toContain("refused (400)");
	expect(message).not.toContain("Xet");
});
