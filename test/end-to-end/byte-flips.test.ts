import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { crc32 } from "node:zlib";
import { describe, expect, onTestFinished, test } from "vitest";
import { readShard } from "../../src/checkpoint/read-shard.ts";
import {
	FormatError,
	MergeDeltaError,
	MismatchError,
	VerificationError,
} from "../../src/errors.ts";
import { parseChecksumFile } from "../../src/format/checksum-file.ts";
import { parseShardIndex } from "../../src/format/shard-index.ts";
import { merge, verify } from "../../src/index.ts";
import { memoryFile } from "../format/memory-file.ts";
import {
	dict,
	pickle,
	storage,
	tensor,
	zipFile,
} from "../format/torch-bytes.ts";

/**
 * The property, for every byte of every input: a flipped bit is refused; or it changes nothing of the result; or it is
 * in the data of a safetensors file, which holds no checksum of its own, and changes just the element it is in. Then
 * the manifest tells other checksums, and where those of the inputs were expected, all are refused.
 */
const BASE = "x.safetensors";
const INDEX = "model.safetensors.index.json";
const DELTA = "pytorch_model.bin";
const [SUMS, MANIFEST] = ["SHA256SUMS", "merge-delta.json"];

/** In memory where that is a folder, since thousands of merges are written. */
async function quickFolder(): Promise<string> {
	const parent = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
	const folder = await mkdtemp(path.join(parent, "merge-delta-"));
	onTestFinished(() => rm(folder, { recursive: true, force: true }));
	return folder;
}

const json = Buffer.from(
	'{"__metadata__":{"format":"pt"},"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"F16","shape":[1],"data_offsets":[4,6]}} ',
);
const length = Buffer.alloc(8);
length.writeBigUInt64LE(BigInt(json.length));
const DATA = Buffer.from([0x01, 0x21, 0x02, 0x21, 0x03, 0x21]);
const FILES: Record<string, Buffer> = {
	[BASE]: Buffer.concat([length, json, DATA]),
	[INDEX]: Buffer.from(
		`{"metadata":{"total_size":6},"weight_map":{"a":"${BASE}","b":"${BASE}"}}\n`,
	),
	[DELTA]: zipFile([
		{
			name: "m/data.pkl",
			data: pickle(
				dict({
					a: tensor(storage("0", 2), [2], [1]),
					b: tensor(storage("1", 1), [1], [1]),
				}),
			),
		},
		{ name: "m/byteorder", data: Buffer.from("little") },
		{ name: "m/data/0", data: Buffer.from([0x05, 0x20, 0x06, 0x20]) },
		{ name: "m/data/1", data: Buffer.from([0x07, 0x20]) },
		{ name: "m/version", data: Buffer.from("3\n") },
	]),
};

class Pair {
	readonly folder: string;
	readonly base: string;
	readonly delta: string;
	private merges = 0;

	constructor(folder: string) {
		this.folder = folder;
		[this.base, this.delta] = ["base", "delta"].map((side) =>
			path.join(folder, side),
		) as [string, string];
		for (const side of [this.base, this.delta]) mkdirSync(side);
		for (const name of Object.keys(FILES)) this.write(name);
	}

	write(name: string, bytes: Uint8Array = FILES[name] as Buffer): void {
		const side = name === DELTA ? this.delta : this.base;
		writeFileSync(path.join(side, name), bytes);
	}

	/** Merge into a new folder. @returns the report and the data of the merged tensors */
	async merge(expected: { baseSha256?: string; deltaSha256?: string } = {}) {
		const out = path.join(this.folder, `out${this.merges++}`);
		const { base, delta } = this;
		try {
			const report = await merge({
				...{ base, delta, out, convention: "add", kernel: "js" },
				...{ allowUnlikely: true, directIo: "off", ...expected },
			});
			const merged = readFileSync(path.join(out, "model.safetensors"));
			const data = merged.subarray(merged.length - DATA.length);
			return { report, header: merged.subarray(0, -DATA.length), data };
		} catch (error) {
			if (!(error instanceof MergeDeltaError)) throw error;
			expect(existsSync(out)).toBe(false);
			return error;
		}
	}
}

function flipped(bytes: Uint8Array, at: number, bit: number): Buffer {
	const other = Buffer.from(bytes);
	other[at] = (other[at] as number) ^ (1 << bit);
	return other;
}

const sha256 = (bytes: Uint8Array) =>
	createHash("sha256").update(bytes).digest("hex");

/** All that a merge takes from a file; null where it is refused. */
async function contentOf(name: string, bytes: Buffer): Promise<string | null> {
	try {
		if (name === INDEX)
			return JSON.stringify([...parseShardIndex(bytes, name).weightMap]);
		const { source, tensors } = await readShard(memoryFile(bytes));
		const parts: unknown[] = [];
		for (const { name, dtype, shape, byteLength, fileOffset } of tensors) {
			const data = new Uint8Array(byteLength);
			await source.read(fileOffset, data);
			parts.push([name, dtype, shape, [...data]]);
		}
		// A merge takes the checksums of records while it reads them.
		for (const { begin, end, crc32: told } of source.checkedRanges ?? [])
			if (crc32(bytes.subarray(begin, end)) !== told) return null;
		return JSON.stringify(parts);
	} catch (error) {
		if (error instanceof FormatError) return null;
		throw error;
	}
}

describe.each(Object.keys(FILES))("%s with a flipped bit", (name) => {
	const bytes = FILES[name] as Buffer;

	test("holds the same, is refused, or has other names or data", async () => {
		const sound = await contentOf(name, bytes);
		const dataBegin = name === BASE ? bytes.length - DATA.length : bytes.length;
		const layoutOf = (content: string) => content.replace(/\[[\d,]+\]\]/g, "");
		const counts = { refused: 0, same: 0, data: 0, layout: 0 };
		for (let at = 0; at < bytes.length; at++)
			for (let bit = 0; bit < 8; bit++) {
				const content = await contentOf(name, flipped(bytes, at, bit));
				if (content === null) counts.refused++;
				else if (content === sound) counts.same++;
				else if (at >= dataBegin) counts.data++;
				else {
					expect(layoutOf(content)).not.toBe(layoutOf(sound ?? ""));
					counts.layout++;
				}
			}
		expect(counts.data).toBe(name === BASE ? DATA.length * 8 : 0);
		// A pickle's names are under its checksum, a header's are not.
		if (name === DELTA) expect(counts.layout).toBe(0);
		expect(counts.refused).toBeGreaterThan(counts.same);
	}, 60_000);

	test("is refused, makes the same model, or another element", async () => {
		const pair = new Pair(await quickFolder());
		const sound = await pair.merge();
		if (sound instanceof Error) throw sound;
		const side = name === BASE ? "baseSha256" : "deltaSha256";
		const counts = { refused: 0, same: 0, data: 0 };
		for (let at = 0; at < bytes.length; at++) {
			const what = `byte ${at} of ${name}`;
			const other = flipped(bytes, at, at % 8);
			// What is refused when it is opened need not be merged to be refused.
			if ((await contentOf(name, other)) === null) {
				counts.refused++;
				continue;
			}
			pair.write(name, other);
			const merged = await pair.merge();
			if (merged instanceof Error) {
				const isKnown =
					merged instanceof FormatError || merged instanceof MismatchError;
				expect(isKnown, `${what}: ${merged}`).toBe(true);
				counts.refused++;
				continue;
			}
			expect(merged.header.equals(sound.header), what).toBe(true);
			if (merged.data.equals(sound.data)) counts.same++;
			else {
				const dataBegin = bytes.length - DATA.length;
				expect([name, at >= dataBegin], what).toEqual([BASE, true]);
				const element = (at - dataBegin) & ~1;
				const differing = [...DATA.keys()].filter(
					(i) => merged.data[i] !== sound.data[i],
				);
				for (const i of differing) expect(i & ~1, what).toBe(element);
				counts.data++;
			}
			if (name === INDEX) continue;
			const { inputs } = merged.report.manifest;
			const read = inputs.find(({ fileName }) => fileName === name);
			expect(read?.sha256, what).toBe(sha256(other));
			if (at % 8 === 0 || counts.data > 0) {
				const refused = await pair.merge({ [side]: sha256(bytes) });
				expect(refused, what).toBeInstanceOf(VerificationError);
			}
		}
		expect(counts.refused + counts.same + counts.data).toBe(bytes.length);
		expect(counts.data).toBe(name === BASE ? DATA.length : 0);
		expect(counts.refused).toBeGreaterThan(counts.same);
	}, 60_000);
});

test("any flipped bit of a merged model is found, but in the letters of a checksum", async () => {
	const pair = new Pair(await quickFolder());
	await pair.merge();
	const out = path.join(pair.folder, "out0");
	for (const name of await readdir(out)) {
		const file = path.join(out, name);
		const bytes = readFileSync(file);
		for (let at = 0; at < bytes.length; at += name === MANIFEST ? 7 : 1) {
			const other = flipped(bytes, at, at % 8);
			writeFileSync(file, other);
			const ok = await verify(out).then(
				(report) => report.ok,
				(error: unknown) => {
					if (error instanceof MergeDeltaError) return false;
					throw error;
				},
			);
			const isDigit = at - bytes.lastIndexOf("\n", at - 1) - 1 < 64;
			const isLetterCase =
				name === SUMS &&
				isDigit &&
				/[a-f]/.test(String.fromCharCode(bytes[at] ?? 0)) &&
				at % 8 === 5;
			expect(ok, `byte ${at} of ${name}`).toBe(isLetterCase);
		}
		writeFileSync(file, bytes);
	}
	expect((await verify(out)).ok).toBe(true);
}, 60_000);

test("any flipped bit of a checksum file is another checksum, another name, or told", () => {
	const line = `${sha256(DATA)}  a.safetensors\n`;
	const sums = Buffer.from(line + line.replace("a.", "b."));
	const entriesOf = (text: string) =>
		JSON.stringify(parseChecksumFile(text, SUMS).entries);
	const sound = entriesOf(sums.toString());
	for (let at = 0; at < sums.length; at++)
		for (let bit = 0; bit < 8; bit++) {
			const text = flipped(sums, at, bit).toString();
			try {
				const { entries, malformedLines } = parseChecksumFile(text, SUMS);
				const told =
					JSON.stringify(entries) !== sound || malformedLines.length > 0;
				const isLetterCase = text.toLowerCase() === sums.toString();
				expect(told, `byte ${at}, bit ${bit}`).toBe(
					!isLetterCase || at % line.length > 63,
				);
			} catch (error) {
				expect(error).toBeInstanceOf(FormatError);
			}
		}
});
