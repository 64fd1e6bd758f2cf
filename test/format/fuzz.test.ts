import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { readShard } from "../../src/checkpoint/read-shard.ts";
import { judgeConfigs } from "../../src/delta/judge-configs.ts";
import {
	type Claim,
	encodeClaim,
	firstSeal,
	parseJournal,
} from "../../src/engine/journal.ts";
import { parseManifestOutputs } from "../../src/engine/read-manifest.ts";
import { FormatError } from "../../src/errors.ts";
import {
	encodeChecksumFile,
	parseChecksumFile,
} from "../../src/format/checksum-file.ts";
import { parseLooseJson } from "../../src/format/loose-json.ts";
import { parsePickleAt } from "../../src/format/pickle.ts";
import {
	HEADER_LENGTH_BYTES,
	parseHeader,
	parseHeaderLength,
} from "../../src/format/safetensors.ts";
import { parseShardIndex } from "../../src/format/shard-index.ts";
import { placeTensors, type StoragePlace } from "../../src/format/torch.ts";
import { parseLegacyHead } from "../../src/format/torch-legacy.ts";
import { storageBytes } from "../../src/format/torch-values.ts";
import {
	checkHeaderOffsets,
	checkZipRecords,
	localHeaderBytes,
	parseLocalHeader,
	parseZipDirectory,
} from "../../src/format/zip.ts";
import { parseZipEnd, ZIP_TAIL_BYTES } from "../../src/format/zip-end.ts";
import { DTYPES } from "../../src/tensor/dtype.ts";
import { parseTensorList } from "../../src/tensor-list.ts";
import {
	type AsyncTarget,
	runAsyncRounds,
	runRounds,
	type Target,
} from "./fuzz-rounds.ts";
import {
	CHECKSUM_TOKENS,
	JSON_TOKENS,
	PICKLE_TOKENS,
	pickleIn,
	seedsOf,
	ZIP_TOKENS,
} from "./fuzz-seeds.ts";
import { memoryFile } from "./memory-file.ts";
import { zipFile } from "./torch-bytes.ts";

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
		const begin = entry.headerOffset;
		const header = bytes.subarray(begin, begin + localHeaderBytes(entry));
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

/** Whatever a config holds, it is judged, and briefly. */
function parseConfig(bytes: Buffer): void {
	const config = parseLooseJson(bytes);
	const layout = {
		...{ location: "x", shards: [], sideFiles: [], addedTokens: [] },
		tensors: new Map([
			[
				"embed_tokens.weight",
				{
					...{ name: "embed_tokens.weight", dtype: "F16" as const },
					...{ shape: [8, 2], shardIndex: 0, fileOffset: 8, byteLength: 32 },
				},
			],
		]),
	};
	const other = { rope_theta: 1, model_type: "x", hidden_act: "y" };
	const doubts = judgeConfigs(
		{ ...layout, config },
		{ ...layout, config: other },
	);
	expect(doubts.every(({ refuses }) => !refuses)).toBe(true);
	expect(JSON.stringify(doubts).length).toBeLessThan(2_000);
	if (config === null) throw new FormatError({ where: "x", what: "no JSON" });
}

/** What of a journal hangs together is what was written, to the byte. */
function parseJournalWhole(bytes: Buffer): void {
	const { claims } = parseJournal(bytes, PLAN_TEXT);
	if (claims.length === 0) throw new FormatError({ where: "x", what: "none" });
	const written = journalOf(claims);
	expect(bytes.subarray(0, written.length).equals(written)).toBe(true);
}

function journalOf(claims: readonly Claim[]): Buffer {
	let seal = firstSeal(PLAN_TEXT);
	const records = claims.map((claim) => {
		const encoded = encodeClaim(seal, claim);
		seal = encoded.seal;
		return encoded.record;
	});
	return Buffer.from(records.join(""));
}

/** Every element of every tensor lies in its storage, each storage being as long as the pickle says. */
function parseTensors(bytes: Buffer): void {
	const pickle = parsePickleAt(bytes, "x", {});
	const places = new Map<string, StoragePlace>();
	let end = 0;
	for (const storage of pickle.storages.values()) {
		const byteLength = storageBytes(storage) ?? 0;
		places.set(storage.key, { fileOffset: end, byteLength });
		end += byteLength;
	}
	for (const tensor of placeTensors(pickle, places, "x").tensors) {
		const { shape, stride, byteLength, fileOffset, dtype } = tensor;
		const count = shape.reduce((product, dimension) => product * dimension, 1);
		const bytes = DTYPES[dtype].bits / 8;
		expect(byteLength).toBe(count * bytes);
		const last = shape.reduce(
			(sum, dimension, i) => sum + (dimension - 1) * (stride[i] ?? Number.NaN),
			0,
		);
		if (count > 0)
			expect(fileOffset + (last + 1) * bytes).toBeLessThanOrEqual(end);
		expect(byteLength).toBeLessThanOrEqual(Math.max(4 * end, 2 ** 20));
	}
}

/** Open a file as the command does, and read every tensor of it. */
async function readWhole(bytes: Buffer): Promise<void> {
	const { source, tensors } = await readShard(memoryFile(bytes));
	const readableLength = source.readableLength ?? source.byteLength;
	for (const { fileOffset, byteLength } of tensors) {
		expect(fileOffset + byteLength).toBeLessThanOrEqual(readableLength);
		await source.read(fileOffset, new Uint8Array(byteLength));
	}
}

/** The pickle in an archive that is sound otherwise. */
function archiveOf(pickle: Buffer): Buffer {
	return zipFile([
		{ name: "m/data.pkl", data: pickle },
		{ name: "m/data/0", data: Buffer.from("\x01\x02\x03\x04") },
		{ name: "m/version", data: Buffer.from("3\n") },
	]);
}

const zips = await seedsOf(/\.bin$/, "PK\x03\x04");
const legacy = await seedsOf(/\.bin$/, "\x80\x02\x8a\x0a");
const pickles = zips.map(pickleIn).filter((pickle) => pickle.length > 0);
const checksums = [
	encodeChecksumFile(
		["a", "b\n", "c\\d", "é.safetensors"].map((name, i) => ({
			...{ name, sha256: `${i}`.repeat(64) },
		})),
	),
	`# comment\r\n${"A".repeat(64)} *a b\r\nSHA256 (x) = ${"0".repeat(64)}\n`,
].map((text) => Buffer.from(text));

const entry = { name: "a", dtype: "F16", shape: [2], sha256: "0".repeat(64) };
const [manifests, tensorLists] = [
	{ schemaVersion: 1, outputs: [{ fileName: "a", sha256: "0".repeat(64) }] },
	{ schemaVersion: 1, tensors: [entry, { ...entry, name: "b" }] },
].map((value) => [Buffer.from(JSON.stringify(value))]) as [Buffer[], Buffer[]];
const PLAN_TEXT = "{}";
const claim: Claim = {
	...{ shardIndex: 0, byteLength: 4096, sha256: "0".repeat(64) },
	counts: {
		nonFinite: [{ tensor: "a", counts: { nonFinite: 2, overflowed: 1 } }],
		unrestored: [{ tensor: "b", counts: { elements: 3, maxUlp: 1 } }],
		sums: [{ tensor: "a", sum: 1.5 }],
	},
};
const journals = [
	[claim],
	[claim, { ...claim, byteLength: 8192 }, { ...claim, shardIndex: 1 }],
].map(journalOf);

const configs = [
	await readFile(
		new URL("../../fixtures/llama-f16/base/config.json", import.meta.url),
	),
	Buffer.from('{"rope_theta":1e4,"vocab_size":8,"model_type":"llama"}'),
];
const CONFIG_TOKENS = ['"vocab_size":', '"rope_parameters":{', '"__proto__":'];

const TARGETS: Record<string, Target> = {
	"safetensors headers": {
		seeds: await seedsOf(/^model\.safetensors$/),
		tokens: JSON_TOKENS,
		parse: parseSafetensors,
	},
	"shard indexes": {
		seeds: await seedsOf(/\.index\.json$/),
		tokens: JSON_TOKENS,
		parse: (bytes) => void parseShardIndex(bytes, "x"),
	},
	"checksum files": {
		seeds: checksums,
		tokens: CHECKSUM_TOKENS,
		parse: (bytes) => void parseChecksumFile(bytes.toString(), "x"),
	},
	manifests: {
		seeds: manifests,
		tokens: JSON_TOKENS,
		parse: (bytes) => void parseManifestOutputs(bytes, "x"),
	},
	"lists of tensors": {
		seeds: tensorLists,
		tokens: JSON_TOKENS,
		parse: (bytes) => void parseTensorList(bytes, "x"),
	},
	"configs of models": {
		...{ seeds: configs, tokens: [...JSON_TOKENS, ...CONFIG_TOKENS] },
		parse: parseConfig,
	},
	"journals of merges": {
		...{ seeds: journals, tokens: JSON_TOKENS },
		parse: parseJournalWhole,
	},
	"zip archives": { seeds: zips, tokens: ZIP_TOKENS, parse: parseZip },
	"zip archives of the same length": {
		...{ seeds: zips, tokens: ZIP_TOKENS, parse: parseZip, inPlace: true },
	},
	pickles: { seeds: pickles, tokens: PICKLE_TOKENS, parse: parseTensors },
	"heads of legacy files": {
		seeds: legacy,
		tokens: PICKLE_TOKENS,
		parse: (bytes) => void parseLegacyHead(bytes, "x"),
	},
};
const ASYNC_TARGETS: Record<string, AsyncTarget> = {
	"weight files": {
		seeds: [...zips, ...legacy, ...(await seedsOf(/^model\.safetensors$/))],
		tokens: [...ZIP_TOKENS, ...PICKLE_TOKENS],
		parse: readWhole,
	},
	"archives of malformed pickles": {
		...{ seeds: pickles, tokens: PICKLE_TOKENS },
		parse: (pickle) => readWhole(archiveOf(pickle)),
	},
};

describe("whatever is wrong with them, these are read or refused:", () => {
	test.each(Object.entries(TARGETS))("%s", (_, target) => runRounds(target), 0);

	test.each(Object.entries(ASYNC_TARGETS))(
		"%s",
		(_, target) => runAsyncRounds(target),
		0,
	);
});
