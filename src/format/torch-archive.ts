import { FormatError } from "../errors.ts";
import type { ZipRecord } from "./zip.ts";
import { RESAVE } from "./zip-end.ts";

/** Everything in an archive but the storages is shorter than this, save the pickle. */
const MAX_SMALL_RECORD_BYTES = 65_536;
/** torch writes four beside the version. */
const MAX_SMALL_RECORDS = 100;
const PICKLE = "data.pkl";
/** What torch has written, and torch 2.13 reads. */
const [LEAST_VERSION, GREATEST_VERSION] = [1, 10];

/** The records of a torch archive by what they are. */
export interface TorchArchive {
	pickle: ZipRecord;
	/** text of a line: which form of the archive this is */
	version: ZipRecord;
	/** absent in files from before torch 2.1, which are little-endian */
	byteorder: ZipRecord | null;
	/** storages by key */
	storages: ReadonlyMap<string, ZipRecord>;
	/** what else there is; nothing of the tensors is in it */
	others: readonly ZipRecord[];
	warnings: string[];
}

/**
 * Sort the records of a zip archive into those of a torch checkpoint.
 *
 * @throws {FormatError} where it is none, or holds a program
 */
export function parseTorchArchive(
	records: readonly ZipRecord[],
	where: string,
): TorchArchive {
	const root = rootOf(records, where);
	const byName = new Map(
		records.map((record) => [record.name.slice(root.length + 1), record]),
	);
	refusePrograms(byName, where);
	const pickle = byName.get(PICKLE);
	const version = byName.get("version") ?? byName.get(".data/version");
	if (!pickle || !version)
		throw new FormatError({
			where,
			what: `a zip archive without ${root}/${pickle ? "version" : PICKLE}`,
			remedy: "Not a torch checkpoint: name the weight file",
		});
	const byteorder = byName.get("byteorder") ?? null;
	const storages = new Map<string, ZipRecord>();
	const others: ZipRecord[] = [];
	for (const [name, record] of byName) {
		const key = /^data\/(\d+)$/.exec(name)?.[1];
		if (key !== undefined) storages.set(key, record);
		else if (![pickle, version, byteorder].includes(record))
			others.push(record);
	}
	checkSmall([version, ...(byteorder ? [byteorder] : []), ...others], where);
	const warnings = hasNoChecksums(records)
		? [`${where}: written with CRC checks off, so damage in it cannot be seen`]
		: [];
	return { pickle, version, byteorder, storages, others, warnings };
}

/** Whether every CRC is zero: torch writes so when told not to compute them. */
export function hasNoChecksums(records: readonly ZipRecord[]): boolean {
	return records.every(({ crc32 }) => crc32 === 0);
}

/** The one folder that all records are in. */
function rootOf(records: readonly ZipRecord[], where: string): string {
	const roots = new Set(records.map(({ name }) => name.replace(/\/.*/s, "")));
	const root = [...roots].join();
	const outside = records.find(({ name }) => !name.startsWith(`${root}/`));
	if (roots.size !== 1 || outside)
		throw new FormatError({
			where,
			what: "a zip archive whose records are not all in one folder",
			found: [...roots].slice(0, 3).join(", "),
			remedy: "Not a torch checkpoint: name the weight file",
		});
	return root;
}

/** @throws {FormatError} for TorchScript, whose loading runs its code, and for a second pickle */
function refusePrograms(
	byName: ReadonlyMap<string, ZipRecord>,
	where: string,
): void {
	for (const name of byName.keys()) {
		if (name === "constants.pkl" || name.startsWith("code/"))
			throw new FormatError({
				where,
				what: `a TorchScript program (it holds ${name}), not a checkpoint; nothing was executed`,
				remedy: "Ask for the model's state dict, best as safetensors",
			});
		if (name.endsWith(".pkl") && name !== PICKLE)
			throw new FormatError({
				where,
				what: `a second pickle, ${name}; nothing was executed`,
				remedy: RESAVE,
			});
	}
}

function checkSmall(records: readonly ZipRecord[], where: string): void {
	if (records.length > MAX_SMALL_RECORDS)
		throw new FormatError({
			where,
			what: "too many records that are no storages",
			expected: `at most ${MAX_SMALL_RECORDS}`,
			found: `${records.length}`,
			remedy: "Not a torch checkpoint that only holds tensors",
		});
	for (const { name, byteLength } of records)
		if (byteLength > MAX_SMALL_RECORD_BYTES)
			throw new FormatError({
				where: `${where}, record ${JSON.stringify(name)}`,
				what: "a record that is no storage, and too long",
				expected: `at most ${MAX_SMALL_RECORD_BYTES} bytes`,
				found: `${byteLength}`,
				remedy: "Not a torch checkpoint that only holds tensors",
			});
}

/**
 * Check what an archive says of itself.
 *
 * @param version    the record's bytes
 * @param byteorder  the record's bytes, or null where there is none
 * @throws {FormatError} where it cannot be read as it is
 */
export function checkTorchArchive(
	version: Uint8Array,
	byteorder: Uint8Array | null,
	where: string,
): void {
	const text = latin1(version);
	const number = /^\d{1,3}\n?$/.test(text) ? Number(text) : Number.NaN;
	if (!(number >= LEAST_VERSION && number <= GREATEST_VERSION))
		throw new FormatError({
			where: `${where}, record version`,
			what: "an unknown version of torch archives",
			expected: `${LEAST_VERSION} to ${GREATEST_VERSION}`,
			found: JSON.stringify(text.slice(0, 20)),
			remedy: RESAVE,
		});
	const order = byteorder === null ? "little" : latin1(byteorder);
	if (order !== "little")
		throw new FormatError({
			where: `${where}, record byteorder`,
			what:
				order === "big"
					? "its numbers are big-endian"
					: "an unknown byte order",
			expected: "little",
			found: JSON.stringify(order.slice(0, 20)),
			remedy: "Save it again on a little-endian machine",
		});
}

function latin1(bytes: Uint8Array): string {
	return Buffer.from(bytes).toString("latin1");
}
