import type { FileListing, ListedFile } from "../checkpoint/open-files.ts";
import { MismatchError } from "../errors.ts";
import {
	BYTE_SCHEMES,
	type ByteScheme,
	type ByteSchemeId,
	type KeyRule,
} from "./byte-schemes.ts";
import { keyStretches } from "./key-stretches.ts";
import { listed } from "./mismatch.ts";
import { listPayloads, type Payload } from "./payloads.ts";
import {
	INPUT,
	type OutputShard,
	PLAN_VERSION,
	type PlanInput,
	type Segment,
} from "./plan.ts";
import type { Planned } from "./plan-merge.ts";

export interface PlanBytesOptions {
	/** names the output has a use of its own for */
	reserved: readonly string[];
	/** default: the table's */
	scheme?: ByteScheme;
}

/**
 * Plan how a delta of bytes becomes a model: one output file for each of its files. Pure: reads nothing
 * but the listings.
 *
 * @throws {FormatError} where a file of the delta is not what its name says
 * @throws {MismatchError} where the base lacks a file, or the delta is of another scheme
 */
export function planBytes(
	base: FileListing,
	delta: FileListing,
	id: ByteSchemeId,
	{ reserved, scheme = BYTE_SCHEMES[id] }: PlanBytesOptions,
): Planned {
	const { payloads, leftOut } = listPayloads(delta, id, scheme, reserved);
	const keys = findKeys(base, delta, payloads, scheme.key);
	const shards = payloads.map((payload, shard) =>
		planFile(payload, shard, keys, scheme.key, base.location),
	);
	const byteLength = shards.reduce((sum, file) => sum + file.byteLength, 0);
	return {
		plan: {
			version: PLAN_VERSION,
			convention: id,
			changes: {},
			inputs: [
				inputOf("base", keys.files),
				inputOf(
					"delta",
					payloads.map(({ file }) => file),
				),
			],
			fills: [],
			shards,
			index: null,
			sideFiles: [],
			sum: null,
			totals: { tensors: 0, elements: 0, byteLength },
		},
		warnings: [
			...leftOut.map(
				(name) =>
					`${delta.location}: ${name} is left out, as the output has one of its own`,
			),
			...(scheme.header === null
				? [
						`${delta.location}: ${id} knows no checksum of its results: compare SHA256SUMS with what the publisher lists`,
					]
				: []),
		],
	};
}

/** The base's files that are read, and where among them the key of each output is. */
interface Keys {
	files: readonly ListedFile[];
	/** by the output's name */
	indices: ReadonlyMap<string, number>;
}

function findKeys(
	base: FileListing,
	delta: FileListing,
	payloads: readonly Payload[],
	key: KeyRule,
): Keys {
	const outNames = payloads
		.filter(({ encoded }) => encoded !== null)
		.map(({ outName }) => outName);
	if (key.kind === "one file") {
		// A bare file is the key, whatever it is called.
		const file = base.isFolder
			? base.files.find(({ fileName }) => fileName === key.fileName)
			: base.files[0];
		if (!file) throw missingFiles(base, delta, [key.fileName], key);
		return { files: [file], indices: new Map(outNames.map((n) => [n, 0])) };
	}
	const byName = new Map(base.files.map((file) => [file.fileName, file]));
	const missing = outNames.filter((name) => !byName.has(name));
	if (missing.length > 0) throw missingFiles(base, delta, missing, key);
	return {
		files: outNames.map((name) => byName.get(name) as ListedFile),
		indices: new Map(outNames.map((name, i) => [name, i])),
	};
}

function missingFiles(
	base: FileListing,
	delta: FileListing,
	names: readonly string[],
	{ kind }: KeyRule,
): MismatchError {
	return new MismatchError({
		where: base.location,
		what: `${names.length === 1 ? `no ${names[0]}` : `${names.length} files are not there`}, which the delta ${delta.location} needs`,
		remedy:
			kind === "same name"
				? "Use the base this delta was made for, in its very files"
				: "Name the key's file itself as the base",
		details: listed(names),
	});
}

/** Refusal of a key by its digest. @param found  MD5 in hex */
export function wrongKey(
	where: string,
	{ md5, keyBytes }: Extract<KeyRule, { kind: "one file" }>,
	found: string,
): MismatchError {
	return new MismatchError({
		where,
		what: `the key${keyBytes === null ? "" : `, its first ${keyBytes} bytes,`} is not the publisher's`,
		expected: `MD5 ${md5}`,
		found,
		remedy: "Use the very file the delta was made with, or --allow-unlikely",
	});
}

function planFile(
	{ file, outName, encoded }: Payload,
	shard: number,
	keys: Keys,
	rule: KeyRule,
	baseLocation: string,
): OutputShard {
	const headerBytes = encoded?.headerBytes ?? 0;
	const byteLength = file.byteLength - headerBytes;
	const keyIndex = keys.indices.get(outName) ?? 0;
	const key = keys.files[keyIndex] as ListedFile;
	const keyFile = { ...key, where: `${baseLocation}, ${key.fileName}` };
	const whole = [{ fileOffset: 0, byteLength, keyOffset: null }];
	const stretches = encoded
		? keyStretches(rule, keyFile, byteLength)
		: whole.filter((stretch) => stretch.byteLength > 0);
	return {
		...{ fileName: outName, byteLength, header: null },
		sha256: encoded?.sha256 ?? null,
		segments: stretches.map(
			({ fileOffset, byteLength, keyOffset }): Segment => {
				const place = { tensor: outName, fileOffset, byteLength };
				const span = (input: number, shard: number, fileOffset: number) => ({
					...{ input, shard, fileOffset, byteLength },
				});
				const delta = span(INPUT.delta, shard, headerBytes + fileOffset);
				return keyOffset === null
					? { op: "copy", ...place, dtype: null, from: delta }
					: {
							op: "xor",
							...place,
							base: span(INPUT.base, keyIndex, keyOffset),
							delta,
						};
			},
		),
	};
}

function inputOf(
	side: PlanInput["side"],
	files: readonly ListedFile[],
): PlanInput {
	return {
		side,
		shards: files.map(({ fileName, byteLength }) => ({ fileName, byteLength })),
	};
}
