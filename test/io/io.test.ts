import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import {
	InterruptedError,
	LocalIoError,
	OutputConflictError,
	SourceChangedError,
} from "../../src/errors.ts";
import type { ByteSource } from "../../src/io/byte-source.ts";
import { DigestingSource } from "../../src/io/digesting-source.ts";
import { openFileSource } from "../../src/io/file-source.ts";
import { Staging } from "../../src/io/staging.ts";
import { scratchFolder } from "../end-to-end/run.ts";

const BYTES = randomBytes(5 * 2 ** 20);
const SHA256 = createHash("sha256").update(BYTES).digest("hex");

/** Bytes in memory that count how many of them are read. */
class MemorySource implements ByteSource {
	readonly byteLength = BYTES.length;
	bytesRead = 0;
	async read(fileOffset: number, into: Uint8Array) {
		into.set(BYTES.subarray(fileOffset, fileOffset + into.length));
		this.bytesRead += into.length;
	}
}

describe("DigestingSource", () => {
	test.each<[string, [begin: number, end: number][], extra: number]>([
		[
			"in order",
			[
				[0, 3_000_000],
				[3_000_000, BYTES.length],
			],
			0,
		],
		[
			"in order after a header",
			[
				[1000, 3_000_000],
				[3_000_000, BYTES.length],
			],
			1000,
		],
		["in part", [[0, 10]], BYTES.length - 10],
		[
			"backwards",
			[
				[4_000_000, 5_000_000],
				[0, 4_000_000],
			],
			BYTES.length - 4_000_000,
		],
		[
			"twice",
			[
				[0, 10],
				[0, 10],
			],
			BYTES.length - 10,
		],
		["never", [], BYTES.length],
	])("hashes the whole file, read %s", async (_, reads, extra) => {
		const memory = new MemorySource();
		const source = new DigestingSource(memory);
		let asked = 0;
		for (const [begin, end] of reads) {
			const into = new Uint8Array(end - begin);
			await source.read(begin, into);
			expect(Buffer.compare(into, BYTES.subarray(begin, end))).toBe(0);
			asked += end - begin;
		}
		expect(await source.digest()).toBe(SHA256);
		expect(memory.bytesRead).toBe(asked + extra);
	});
});

test("hashing what is left can be interrupted", async () => {
	const source = new DigestingSource(new MemorySource());
	await expect(source.digest(AbortSignal.abort())).rejects.toThrow(
		InterruptedError,
	);
});

describe("a file source", () => {
	test("reads any stretch, and says when the file ended early or changed", async () => {
		const file = path.join(await scratchFolder(), "f");
		await writeFile(file, BYTES);
		const source = await openFileSource(file);
		const into = new Uint8Array(100);
		await source.read(1234, into);
		expect(Buffer.compare(into, BYTES.subarray(1234, 1334))).toBe(0);
		await source.checkUnchanged();
		await expect(source.read(BYTES.length - 50, into)).rejects.toThrow(
			SourceChangedError,
		);
		await writeFile(file, "other");
		await expect(source.checkUnchanged()).rejects.toThrow(SourceChangedError);
		await source.close();
	});

	test("a missing file is a local failure", async () => {
		await expect(openFileSource("/no/such/file")).rejects.toThrow(LocalIoError);
	});
});

describe("staging", () => {
	test("nothing appears before publishing, and all of it at once", async () => {
		const out = path.join(await scratchFolder(), "out");
		const staging = await Staging.open(out);
		const file = await staging.write("f", (f) => f.append(BYTES));
		expect(file).toEqual({
			fileName: "f",
			byteLength: BYTES.length,
			sha256: SHA256,
		});
		expect(await readdir(path.dirname(out))).toEqual(["out.merge-delta"]);
		await staging.publish();
		expect(await readdir(path.dirname(out))).toEqual(["out"]);
		expect(Buffer.compare(await readFile(path.join(out, "f")), BYTES)).toBe(0);
	});

	test("a file is never written twice", async () => {
		const staging = await Staging.open(path.join(await scratchFolder(), "out"));
		await staging.write("f", async () => {});
		await expect(staging.write("f", async () => {})).rejects.toThrow(
			LocalIoError,
		);
		await staging.discard();
	});

	test("what appears at the output meanwhile is kept", async () => {
		const out = path.join(await scratchFolder(), "out");
		const staging = await Staging.open(out);
		await mkdir(out);
		await writeFile(path.join(out, "mine"), "precious");
		await expect(staging.publish()).rejects.toThrow(OutputConflictError);
		await staging.discard();
		expect(await readdir(out)).toEqual(["mine"]);
	});

	test("a folder that is no staging folder is left alone", async () => {
		const out = path.join(await scratchFolder(), "out");
		await mkdir(`${out}.merge-delta`);
		await writeFile(path.join(`${out}.merge-delta`, "mine"), "precious");
		await expect(Staging.open(out)).rejects.toThrow(OutputConflictError);
		expect(await readdir(`${out}.merge-delta`)).toEqual(["mine"]);
	});
});
