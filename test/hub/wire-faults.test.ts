import { afterEach, beforeEach, expect, test } from "vitest";
import { type LocalHub, startLocalHub } from "./local-hub.ts";
import { RawRequest } from "./raw-request.ts";

const TEXT = "0123456789".repeat(300);

let hub: LocalHub;
let url: string;
beforeEach(async () => {
	hub = await startLocalHub({ repos: { "org/m": { files: { t: TEXT } } } });
	url = `${hub.endpoint}/org/m/resolve/main/t`;
});
afterEach(() => hub.close());

const get = (headers = {}) => new RawRequest(url, headers).whole();

test("an answer without a fault ends where it should", async () => {
	const answer = await get();
	expect([answer.status, answer.ended]).toEqual([200, "fin"]);
	expect(answer.body.toString()).toBe(TEXT);
});

test.each([0, 1, 999, 1000, 1001, 2999, 3000])(
	"a reset comes after %i bytes, none lost",
	async (afterBytes) => {
		hub.fail(/resolve/, { kind: "reset", afterBytes });
		const answer = await get();
		expect([answer.status, answer.ended]).toEqual([200, "reset"]);
		expect(answer.header("content-length")).toEqual(["3000"]);
		expect(answer.body.toString()).toBe(TEXT.slice(0, afterBytes));
	},
);

test("a reset or an end without a number comes before any header", async () => {
	hub.fail(/resolve/, { kind: "reset" });
	hub.fail(/resolve/, { kind: "fin" });
	const [first, second] = [await get(), await get()];
	expect([first.received.length, first.ended]).toEqual([0, "reset"]);
	expect([second.received.length, second.ended]).toEqual([0, "fin"]);
});

test("an early end breaks Content-Length, or nothing tells it", async () => {
	hub.fail(/resolve/, { kind: "fin", afterBytes: 700 });
	hub.fail(/resolve/, { kind: "fin", afterBytes: 700, framing: "close" });
	for (const length of [["3000"], []]) {
		const answer = await get();
		expect([answer.status, answer.ended]).toEqual([200, "fin"]);
		expect(answer.header("content-length")).toEqual(length);
		expect(answer.header("transfer-encoding")).toEqual([]);
		expect(answer.body.toString()).toBe(TEXT.slice(0, 700));
	}
	hub.fail(/resolve/, { kind: "fin", afterBytes: 700 });
	await expect(fetch(url).then((r) => r.text())).rejects.toThrow("terminated");
	hub.fail(/resolve/, { kind: "fin", afterBytes: 700, framing: "close" });
	expect(await (await fetch(url)).text()).toHaveLength(700);
});

test("an early end leaves chunks without their terminator", async () => {
	hub.fail(/resolve/, { kind: "fin", afterBytes: 16, framing: "chunked" });
	const answer = await get({ Range: "bytes=10-99" });
	expect([answer.status, answer.ended]).toEqual([206, "fin"]);
	expect(answer.header("transfer-encoding")).toEqual(["chunked"]);
	expect(answer.header("content-length")).toEqual([]);
	expect(answer.body.toString()).toBe("10\r\n0123456789012345\r\n");
});

test.each([
	[false, "10"],
	[true, "15"],
])("too long a body, declared: %s", async (declared, length) => {
	hub.fail(/resolve/, { kind: "excess", bytes: 5, declared });
	const answer = await get({ Range: "bytes=10-19" });
	expect(answer.header("content-range")).toEqual(["bytes 10-19/3000"]);
	expect(answer.header("content-length")).toEqual([length]);
	expect(answer.body.toString()).toBe("0123456789\0\0\0\0\0");
});

test("packets are as small as they are asked for", async () => {
	hub.fail(/resolve/, { kind: "packets", bytes: 1 });
	const answer = await get({ Range: "bytes=0-199" });
	expect(answer.body.toString()).toBe(TEXT.slice(0, 200));
	expect(answer.packetCount).toBeGreaterThan(20); // some meet in the system's buffers
});

test("a slow drip takes its time", async () => {
	hub.fail(/resolve/, { kind: "packets", bytes: 2, everyMs: 5 });
	const started = performance.now();
	const answer = await get({ Range: "bytes=0-19" });
	expect(performance.now() - started).toBeGreaterThan(10 * 4.5);
	expect(answer.body.toString()).toBe(TEXT.slice(0, 20));
});

test("a black hole takes the request and says nothing", async () => {
	hub.fail(/resolve/, { kind: "black-hole" });
	const lost = new RawRequest(url);
	const isTaken = () => hub.requests.some((r) => r.fault === "black-hole");
	while (!isTaken()) await fetch(`${hub.cdn}/x`);
	await get(); // the hub answers others meanwhile
	expect([lost.received.length, lost.ended]).toEqual([0, null]);
	await hub.close();
	await lost.whole();
	expect(lost.received.length).toBe(0);
});

test("a stalled body stops after its bytes, and stays open", async () => {
	hub.fail(/resolve/, { kind: "stall", afterBytes: 1200 });
	const stalled = new RawRequest(url);
	await stalled.until(() => stalled.body.length >= 1200);
	await get();
	expect(stalled.header("content-length")).toEqual(["3000"]);
	expect([stalled.body.length, stalled.ended]).toEqual([1200, null]);
	stalled.close();
});

test("headers may be larger than a client takes", async () => {
	hub.fail(/resolve/, { kind: "oversize-headers", bytes: 100_000 }, 2);
	const answer = await get();
	expect(answer.header("x-padding")[0]).toHaveLength(100_000);
	expect(answer.body.toString()).toBe(TEXT);
	const error = await fetch(url).catch((e) => e);
	expect(error.cause.code).toBe("UND_ERR_HEADERS_OVERFLOW");
});

test("a HEAD fails without a body", async () => {
	hub.fail(/^HEAD /, { kind: "fin", afterBytes: 700 });
	hub.fail(/^HEAD /, { kind: "reset", afterBytes: 700 });
	for (const how of ["fin", "reset"]) {
		const answer = await new RawRequest(url, {}, "HEAD").whole();
		expect([answer.status, answer.ended]).toEqual([200, how]);
		expect(answer.body.length).toBe(0);
	}
});

test("a client that leaves in the middle does not hold the hub", async () => {
	const big = new Uint8Array(8 << 20);
	await hub.commit("org/m", { t: big });
	const leaver = new RawRequest(url);
	await leaver.until(() => leaver.body.length > 0);
	leaver.close();
	hub.fail(/resolve/, {
		kind: "fin",
		afterBytes: big.length,
		framing: "close",
	});
	const other = new RawRequest(url);
	await other.until(() => other.body.length > 0);
	other.close();
	expect((await fetch(url)).headers.get("content-length")).toBe(`${8 << 20}`);
});
