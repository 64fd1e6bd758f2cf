import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { SourceChangedError, VerificationError } from "../../src/errors.ts";
import { HubSource } from "../../src/hub/hub-source.ts";
import { scratchFolder } from "../end-to-end/run.ts";
import { listed, MODEL, openHub, settingsFor, someBytes } from "./open-hub.ts";

const SIZE = 1_000_000;
const WEIGHTS = someBytes(SIZE);
const NAME = "model.safetensors";
const FILES = { [NAME]: WEIGHTS, "config.json": '{"a": 1}' };

async function open(name = NAME) {
	const hub = await openHub({ repos: { [MODEL]: { files: FILES } } });
	const settings = await settingsFor(hub);
	const file = await listed(hub, settings, name);
	hub.requests.length = 0;
	const source = new HubSource(settings, file);
	onTestFinished(() => source.closeLocal());
	/** which bytes were asked for, those of the store alone where the file is there */
	const asked = () =>
		hub.requests
			.filter(({ origin }) => !file.isLfs || origin === "cdn")
			.map(({ headers }) => headers.range)
			.sort();
	return { hub, source, asked };
}

async function read(source: HubSource, at: number, byteLength: number) {
	const into = new Uint8Array(byteLength);
	await source.read(at, into);
	expect(Buffer.compare(into, WEIGHTS.subarray(at, at + byteLength))).toBe(0);
}

test("reads what is asked for, and little more", async () => {
	const { source, asked } = await open();
	expect(source.byteLength).toBe(SIZE);
	await read(source, 0, 8);
	await read(source, 0, 500);
	await read(source, SIZE - 8, 8);
	expect(asked()).toEqual(["bytes=0-1023", `bytes=${SIZE - 8}-${SIZE - 1}`]);
});

test("goes on where an earlier read ended", async () => {
	const { source, asked } = await open();
	await read(source, 0, 512);
	await read(source, 0, 9000);
	expect(asked()).toEqual(["bytes=0-1023", "bytes=1024-8999"]);
});

test("reads of one turn that lie close together are one request", async () => {
	const { source, asked } = await open();
	await Promise.all([
		read(source, 500_000, 2000),
		read(source, 0, 2000),
		read(source, 60_000, 2000),
		read(source, 1000, 3000),
	]);
	expect(asked()).toEqual(["bytes=0-61999", "bytes=500000-501999"]);
});

test("beyond its end there is nothing", async () => {
	const { source } = await open();
	await expect(source.read(SIZE - 4, new Uint8Array(8))).rejects.toThrow(
		SourceChangedError,
	);
});

test("one that is not in LFS is read whole, once, and checked", async () => {
	const { hub, source, asked } = await open("config.json");
	const into = new Uint8Array(3);
	await source.read(1, into);
	await source.read(1, into);
	expect(Buffer.from(into).toString()).toBe('"a"');
	expect(asked()).toEqual(["bytes=0-7"]);
	const other = await open("config.json");
	other.hub.fail(/config/, { kind: "bit-flip", at: 3 });
	const error = await other.source.read(0, into).catch((e) => e);
	expect(error).toBeInstanceOf(VerificationError);
	expect(error.message).toContain("other bytes came than were published");
	expect(hub.requests.length).toBe(1);
});

test("once the file is here it is read, if it says what was read before", async () => {
	const folder = await scratchFolder();
	const [right, wrong] = [path.join(folder, "a"), path.join(folder, "b")];
	const changed = WEIGHTS.slice();
	changed[700_001] = (changed[700_001] as number) ^ 1;
	await mkdir(folder, { recursive: true });
	await writeFile(right, WEIGHTS);
	await writeFile(wrong, changed);
	const { source, asked } = await open();
	await read(source, 0, 100);
	await read(source, 700_000, 2000);
	const count = asked().length;
	const error = await source.settle(wrong).catch((e) => e);
	expect(error).toBeInstanceOf(VerificationError);
	expect(error.message).toMatch(/byte 700000: other bytes came/);
	await source.settle(right);
	await read(source, 123_456, 1000);
	expect(asked().length).toBe(count);
});
