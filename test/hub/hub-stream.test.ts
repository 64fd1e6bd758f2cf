import { createHash } from "node:crypto";
import { describe, expect, onTestFinished, test } from "vitest";
import { NetworkError, SpoiltOnItsWay } from "../../src/errors.ts";
import { EarlyReads } from "../../src/hub/early-reads.ts";
import { HubStream } from "../../src/hub/hub-stream.ts";
import { listed, MODEL, openHub, settingsFor, someBytes } from "./open-hub.ts";

const SIZE = 1_000_000;
const WEIGHTS = someBytes(SIZE);
const NAME = "model.safetensors";
const STORE = /^GET http:\/\/localhost/;

async function open() {
	const hub = await openHub({
		repos: { [MODEL]: { files: { [NAME]: WEIGHTS } } },
	});
	const settings = await settingsFor(hub);
	const file = await listed(hub, settings, NAME);
	const early = new EarlyReads(settings, file, undefined);
	await early.read(0, new Uint8Array(2000));
	hub.requests.length = 0;
	let passed = 0;
	const stream = new HubStream(settings, file, early, undefined, (bytes) => {
		passed = bytes;
	});
	onTestFinished(() => stream.close());
	const read = async (begin: number, end: number) => {
		const into = new Uint8Array(end - begin);
		await stream.read(begin, into);
		expect(Buffer.compare(into, WEIGHTS.subarray(begin, end))).toBe(0);
	};
	const asked = () =>
		hub.requests.flatMap(({ origin, headers }) =>
			origin === "cdn" ? [headers.range] : [],
		);
	return { hub, stream, read, asked, passed: () => passed };
}

const WHOLE = `bytes=0-${SIZE - 1}`;

test("what is read in order passes once, also where reads overlap a little", async () => {
	const { stream, read, asked, passed } = await open();
	await read(0, 300_000);
	await read(299_000, 500_000);
	expect(passed()).toBe(500_000);
	await Promise.all([read(500_000, 700_000), read(699_000, 800_000)]);
	const sha256 = createHash("sha256").update(WEIGHTS).digest("hex");
	expect(await stream.finish()).toBe(sha256);
	expect(passed()).toBe(SIZE);
	expect(asked()).toEqual([WHOLE]);
});

test("what has passed is asked for again, and only that", async () => {
	const { read, asked } = await open();
	await read(600_000, 700_000);
	await read(100_000, 200_000);
	await read(500_000, 800_000);
	const [first, second, third, ...others] = asked();
	expect([first, second]).toEqual([WHOLE, "bytes=65536-262143"]);
	expect(third).toMatch(/^bytes=458752-[56]\d{5}$/);
	expect(others).toEqual([]);
});

test("it can be read before its turn", async () => {
	const { stream, asked, passed } = await open();
	const into = new Uint8Array(1000);
	await stream.readAgain(900_000, into);
	expect(Buffer.compare(into, WEIGHTS.subarray(900_000, 901_000))).toBe(0);
	expect(asked()).toEqual(["bytes=851968-917503"]);
	expect(passed()).toBe(0);
});

test("it goes on where the connection broke", async () => {
	const { hub, read, stream } = await open();
	hub.fail(STORE, { kind: "reset", afterBytes: 200_000 }, 3);
	await read(0, 900_000);
	await stream.finish();
});

test.each([
	["where it was read early", 5, /byte 0: other bytes came when/],
	["elsewhere", 500_000, /other bytes came than were published/],
])("another byte %s is told, at the latest in the end", async (_, at, says) => {
	const { hub, stream } = await open();
	hub.fail(STORE, { kind: "bit-flip", at });
	const error = await stream.finish().catch((e) => e);
	expect(error).toBeInstanceOf(SpoiltOnItsWay);
	expect(error.message).toMatch(says);
});

describe("what comes twice is compared", () => {
	test("where it has passed, at once", async () => {
		const { hub, stream, read } = await open();
		await read(0, 700_000);
		hub.fail(STORE, { kind: "bit-flip", at: 100_001 });
		const error = await stream.read(100_000, new Uint8Array(5)).catch((e) => e);
		expect(error).toBeInstanceOf(SpoiltOnItsWay);
		expect(error.message).toMatch(/byte 65536: other bytes came one time/);
		await read(100_000, 100_005);
	});

	test("where it has not, when it does", async () => {
		const { hub, stream, read } = await open();
		hub.fail(STORE, { kind: "bit-flip", at: 900_001 });
		await stream.readAgain(900_000, new Uint8Array(5));
		await read(0, 800_000);
		const error = await stream.finish().catch((e) => e);
		expect(error).toBeInstanceOf(SpoiltOnItsWay);
		expect(error.message).toMatch(/byte 851968: other bytes came one time/);
	});

	test("at the end of the file, whose block is short", async () => {
		const { stream, read } = await open();
		await stream.readAgain(SIZE - 9, new Uint8Array(9));
		await read(SIZE - 20, SIZE);
		await stream.finish();
	});
});

test("a failure is told to all who wait, and to who comes after", async () => {
	const { hub, stream, read } = await open();
	hub.fail(/resolve/, { kind: "status", status: 403 }, 9);
	const reads = await Promise.allSettled([
		...[read(0, 10), read(500_000, 600_000), stream.finish()],
	]);
	for (const { status } of reads) expect(status).toBe("rejected");
	await expect(read(0, 10)).rejects.toThrow(NetworkError);
	await expect(stream.finish()).rejects.toThrow(NetworkError);
});
