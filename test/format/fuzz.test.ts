import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Script } from "node:vm";
import { describe, expect, test } from "vitest";
import { FormatError, printable } from "../../src/errors.ts";
import {
	encodeChecksumFile,
	parseChecksumFile,
} from "../../src/format/checksum-file.ts";
import { parsePickle, parsePickleAt } from "../../src/format/pickle.ts";
import {
	HEADER_LENGTH_BYTES,
	parseHeader,
	parseHeaderLength,
} from "../../src/format/safetensors.ts";
import { parseShardIndex } from "../../src/format/shard-index.ts";
import {
	checkHeaderOffsets,
	checkZipRecords,
	localHeaderBytes,
	parseLocalHeader,
	parseZipDirectory,
} from "../../src/format/zip.ts";
import { parseZipEnd, ZIP_TAIL_BYTES } from "../../src/format/zip-end.ts";
import { type Ingredients, mutate, Random } from "./mutation.ts";

/** `npm run fuzz` runs many rounds; each round is a file that a seed makes, the same on every machine. */
const ROUNDS = Number(
	process.env.MERGE_DELTA_FUZZ_ROUNDS ??
		(process.env.MODE === "fuzz" ? 200_000 : 2_000),
);
const FIRST_SEED = Number(process.env.MERGE_DELTA_FUZZ_SEED ?? 1);
const BATCH = 100;
/** A round takes well under a millisecond; only a parser that hangs takes so long. */
const MAX_MS = 10_000;
/** No file here has more than 64 KB. */
const MAX_GROWN_BYTES = 128 * 2 ** 20;

interface Target extends Ingredients {
	/** Parse, and check what a reader may rely on afterwards. */
	parse(bytes: Buffer): void;
}

const CORPUS = fileURLToPath(
	new URL("../../fixtures/invalid", import.meta.url),
);

/** Files of the corpus of this name that begin so: faulty ones make good seeds too. */
async function seedsOf(fileName: string, start = ""): Promise<Buffer[]> {
	const folders = (await readdir(CORPUS, { withFileTypes: true }))
		.filter((entry) => entry.isDirectory())
		.map((entry) => entry.name)
		.sort();
	const files = await Promise.all(
		folders.map((folder) =>
			readFile(path.join(CORPUS, folder, fileName)).catch(() => null),
		),
	);
	return files.filter(
		(bytes): bytes is Buffer<ArrayBuffer> =>
			bytes !== null &&
			bytes.length > 0 &&
			bytes.length < 65_536 &&
			bytes.toString("latin1", 0, start.length) === start,
	);
}

const JSON_TOKENS = [
	...['"', "\\", "{", "}", "[", "]", ",", ":", "0", "-1", "1e9", "1.5"],
	...["null", "true", "\\ud800", "\\u0061", "\xff", "\xef\xbb\xbf", "\0"],
	...['"a":', '"dtype":', '"F4"', '"shape":', '"data_offsets":', "[[[["],
	...['"__metadata__":{', '"weight_map":{', '"../x.safetensors"'],
];
const OPCODES =
	"(.012BCFGIJKLMNPQRSTUVX]abcdeghijloqprstu})\x80\x82\x85\x86\x87\x88\x89\x8a\x8c\x93\x95";
const PICKLE_TOKENS = [
	...OPCODES,
	...["\x80\x02", "cos\nsystem\n", "ctorch\nHalfStorage\n", "\x8a\xff", "K\0"],
	...["ccollections\nOrderedDict\n)R", "X\xff\xff\xff\xff", "h\0", "q\0"],
	...["j\xff\xff\xff\xff", "J\xff\xff\xff\xff", "((((", "X\x01\0\0\0a", "s."],
];
const ZIP_TOKENS = [
	...["PK\x01\x02", "PK\x03\x04", "PK\x05\x06", "PK\x06\x06", "PK\x06\x07"],
	...["m/", "../", "data.pkl", "data/0", "version", "byteorder", "little"],
];

function parseSafetensors(bytes: Buffer): void {
	const length = parseHeaderLength(bytes.subarray(0, 8), bytes.length, "x");
	const end = HEADER_LENGTH_BYTES + length;
	const header = parseHeader(bytes.subarray(0, end), bytes.length, "x");
	let at = 0;
	for (const { dataOffsets } of header.tensors) {
		expect(dataOffsets[0]).toBe(at);
		at = dataOffsets[1];
	}
	expect(header.byteLength + at).toBe(bytes.length);
}

function parseZip(bytes: Buffer): void {
	const tail = bytes.subarray(Math.max(0, bytes.length - ZIP_TAIL_BYTES));
	const end = parseZipEnd(tail, bytes.length, "x");
	const directoryEnd = end.directoryOffset + end.directoryBytes;
	expect(directoryEnd).toBeLessThanOrEqual(bytes.length);
	const directory = bytes.subarray(end.directoryOffset, directoryEnd);
	const entries = parseZipDirectory(directory, end, "x");
	checkHeaderOffsets(entries, end, "x");
	const records = entries.map((entry) => {
		const header = bytes.subarray(
			...[entry.headerOffset, entry.headerOffset + localHeaderBytes(entry)],
		);
		return parseLocalHeader(header, entry, "x");
	});
	checkZipRecords(records, end, "x");
	let at = 0;
	for (const record of records.sort((a, b) => a.dataOffset - b.dataOffset)) {
		expect(record.headerOffset).toBeGreaterThanOrEqual(at);
		at = record.dataOffset + record.byteLength;
		expect(at).toBeLessThanOrEqual(end.directoryOffset);
	}
}

/** The pickle in a zip of the corpus: its first record, whose name has ten bytes. */
function pickleIn(zip: Buffer): Buffer {
	return zip.subarray(40, zip.indexOf("PK\x07\x08"));
}

const zips = await seedsOf("pytorch_model.bin", "PK\x03\x04");
const legacy = await seedsOf("pytorch_model.bin", "\x80\x02\x8a\x0a");
const checksums = [
	encodeChecksumFile(
		["a", "b\n", "c\\d", "é.safetensors"].map((name, i) => ({
			...{ name, sha256: `${i}`.repeat(64) },
		})),
	),
	`# comment\r\n${"A".repeat(64)} *a b\r\nSHA256 (x) = ${"0".repeat(64)}\n`,
].map((text) => Buffer.from(text));

const TARGETS: Record<string, Target> = {
	"safetensors headers": {
		seeds: await seedsOf("model.safetensors"),
		tokens: JSON_TOKENS,
		parse: parseSafetensors,
	},
	"shard indexes": {
		seeds: await seedsOf("model.safetensors.index.json"),
		tokens: JSON_TOKENS,
		parse: (bytes) => void parseShardIndex(bytes, "x"),
	},
	"checksum files": {
		seeds: checksums,
		tokens: ["\\", "\n", "\r", "  ", " *", "SHA256 (", ") = ", "../", "#"],
		parse: (bytes) => void parseChecksumFile(bytes.toString(), "x"),
	},
	"zip archives": { seeds: zips, tokens: ZIP_TOKENS, parse: parseZip },
	"zip archives in place": {
		...{ seeds: zips, tokens: ZIP_TOKENS, parse: parseZip, inPlace: true },
	},
	pickles: {
		seeds: zips.map(pickleIn).filter((pickle) => pickle.length > 0),
		tokens: PICKLE_TOKENS,
		parse: (bytes) => void parsePickle(bytes, "x"),
	},
	"legacy files": {
		seeds: legacy,
		tokens: PICKLE_TOKENS,
		parse: (bytes) => {
			for (let at = 0; at < bytes.length; )
				at = parsePickleAt(bytes, "x", {
					...{ byteOffset: at, whole: false, persistentIdItems: 6 },
				}).end;
		},
	},
};

describe.each(Object.entries(TARGETS))("%s", (_, target) => {
	test("are read or refused, whatever is wrong with them", () => {
		const counts = { read: 0, refused: 0 };
		const before = process.resourceUsage().maxRSS;
		for (let round = 0; round < ROUNDS; round += BATCH)
			watched(target, round, Math.min(round + BATCH, ROUNDS), counts);
		const grown = (process.resourceUsage().maxRSS - before) * 1024;
		expect(grown).toBeLessThan(MAX_GROWN_BYTES);
		expect(counts.read).toBeGreaterThan(ROUNDS / 1000);
		expect(counts.refused).toBeGreaterThan(ROUNDS / 10);
	}, 0);
});

const GUARDED = "fuzzGuarded";
const guard = new Script(`globalThis.${GUARDED}()`);

/** Run rounds under a clock that stops even a loop that never ends, and name the round that fails. */
function watched(
	target: Target,
	firstRound: number,
	endRound: number,
	counts: { read: number; refused: number },
): void {
	let round = firstRound;
	let bytes: Buffer = Buffer.alloc(0);
	const body = () => {
		for (; round < endRound; round++) {
			const random = new Random(FIRST_SEED + round);
			bytes = mutate(random.pick(target.seeds), random, target);
			counts[isRead(target, bytes) ? "read" : "refused"]++;
		}
	};
	Reflect.set(globalThis, GUARDED, body);
	try {
		guard.runInThisContext({ timeout: MAX_MS });
	} catch (cause) {
		throw new Error(
			`round ${round} of seed ${FIRST_SEED}: ${JSON.stringify(bytes.toString("latin1"))}`,
			{ cause },
		);
	}
}

/** Whether it is read; false where it is refused as it should be. */
function isRead(target: Target, bytes: Buffer): boolean {
	const before = process.memoryUsage().arrayBuffers;
	try {
		target.parse(bytes);
		return true;
	} catch (error) {
		if (!(error instanceof FormatError)) throw error;
		expect(error.message).toBe(printable(error.message));
		return false;
	} finally {
		const grown = process.memoryUsage().arrayBuffers - before;
		expect(grown).toBeLessThan(MAX_GROWN_BYTES);
	}
}
