import { crc32 } from "node:zlib";

/** A record of an archive to be made, sound unless it says otherwise. */
export interface MadeRecord {
	name: string;
	data: Uint8Array;
	/** in the local header; default: `name` */
	localName?: string;
	flags?: number;
	method?: number;
	crc32?: number;
	byteLength?: number;
	storedBytes?: number;
	headerOffset?: number;
	/** so many more bytes of data, which the caller must put behind this record's header */
	holeBytes?: number;
}

/** What stands around the records, sound unless it says otherwise. */
export interface MadeEnd {
	before?: Uint8Array;
	after?: Uint8Array;
	comment?: string;
	entryCount?: number;
	directoryOffset?: number;
	/** also the 64-bit end records, as torch writes them; default true */
	zip64?: boolean;
	/** what the 64-bit record says where it shall differ */
	entryCount64?: number;
	end64Offset?: number;
}

const ABSENT = 0xffffffff;

/** What 32 bits say of a number that stands elsewhere. */
function saturated(value: number): number {
	return Math.min(value, ABSENT);
}

function fields(...values: [bytes: 2 | 4 | 8, value: number][]): Buffer {
	return Buffer.concat(
		values.map(([byteLength, value]) => {
			const field = Buffer.alloc(8);
			field.writeBigUInt64LE(BigInt(value));
			return field.subarray(0, byteLength);
		}),
	);
}

/** An archive as torch writes it: stored, lengths in the directory alone, data descriptors left out. */
export function zipFile(
	records: readonly MadeRecord[],
	end: MadeEnd = {},
): Buffer {
	const parts: Buffer[] = [Buffer.from(end.before ?? [])];
	const entries: Buffer[] = [];
	let at = parts[0]?.length ?? 0;
	for (const record of records) {
		const { name, data, flags = 0x800, method = 0 } = record;
		const [local, central] = [record.localName ?? name, name].map((text) =>
			Buffer.from(text, "latin1"),
		) as [Buffer, Buffer];
		const header = fields(
			...([
				[4, 0x04034b50],
				[2, 0],
				[2, flags],
				[2, method],
			] as [2, number][]),
			...([
				[4, 0],
				[4, 0],
				[4, 0],
				[4, 0],
			] as [4, number][]),
			...([
				[2, local.length],
				[2, 5],
			] as [2, number][]),
		);
		// Torch pads here, in a field that the directory does not have.
		const padding = Buffer.from("FB\x01\0Z", "latin1");
		parts.push(header, local, padding, Buffer.from(data));
		const byteLength = data.length + (record.holeBytes ?? 0);
		const numbers = [
			record.storedBytes ?? byteLength,
			record.byteLength ?? byteLength,
			record.headerOffset ?? at,
		];
		const long = numbers.filter((value) => value >= ABSENT);
		const extra =
			long.length === 0
				? Buffer.alloc(0)
				: fields(
						[2, 1],
						[2, long.length * 8],
						...long.map((value): [8, number] => [8, value]),
					);
		const [stored = 0, plain = 0, offset = 0] = numbers.map(saturated);
		entries.push(
			fields(
				...([
					[4, 0x02014b50],
					[2, 0],
					[2, 0],
					[2, flags],
				] as [2, number][]),
				...([
					[2, method],
					[4, 0],
				] as [2, number][]),
				...([[4, record.crc32 ?? crc32(data)]] as [4, number][]),
				...([
					[4, stored],
					[4, plain],
				] as [4, number][]),
				...([
					[2, central.length],
					[2, extra.length],
					[2, 0],
				] as [2, number][]),
				...([
					[2, 0],
					[2, 0],
					[4, 0],
					[4, offset],
				] as [2, number][]),
			),
			central,
			extra,
		);
		at += header.length + local.length + padding.length + byteLength;
	}
	const directory = Buffer.concat(entries);
	return Buffer.concat([
		...parts,
		directory,
		endRecords(records, directory, at, end),
	]);
}

function endRecords(
	records: readonly MadeRecord[],
	directory: Buffer,
	at: number,
	end: MadeEnd,
): Buffer {
	const { entryCount = records.length, directoryOffset = at } = end;
	const count64 = end.entryCount64 ?? entryCount;
	const end64Offset = at + directory.length;
	const comment = Buffer.from(end.comment ?? "");
	const long = Buffer.concat([
		fields([4, 0x06064b50], [8, 44], [2, 0], [2, 0], [4, 0], [4, 0]),
		fields([8, count64], [8, count64], [8, directory.length]),
		fields([8, directoryOffset], [4, 0x07064b50], [4, 0]),
		fields([8, end.end64Offset ?? end64Offset], [4, 1]),
	]);
	return Buffer.concat([
		end.zip64 === false ? Buffer.alloc(0) : long,
		fields([4, 0x06054b50], [2, 0], [2, 0], [2, entryCount], [2, entryCount]),
		fields([4, directory.length], [4, saturated(directoryOffset)]),
		fields([2, comment.length]),
		comment,
		Buffer.from(end.after ?? []),
	]);
}

/** Opcodes, as text or bytes, one after the other; between protocol and STOP. */
export function pickle(...opcodes: (string | Uint8Array)[]): Buffer {
	return Buffer.concat([
		Buffer.from([0x80, 2]),
		...opcodes.map((part) =>
			typeof part === "string" ? Buffer.from(part, "latin1") : part,
		),
		Buffer.from("."),
	]);
}

/** BINUNICODE */
export function text(value: string): Buffer {
	const bytes = Buffer.from(value);
	return Buffer.concat([Buffer.from("X"), fields([4, bytes.length]), bytes]);
}

/** BININT, or LONG1 where it does not fit */
export function int(value: number): Buffer {
	if (value >= -(2 ** 31) && value < 2 ** 31) {
		const bytes = Buffer.alloc(5);
		bytes.write("J");
		bytes.writeInt32LE(value, 1);
		return bytes;
	}
	const bytes = Buffer.alloc(10);
	bytes.set([0x8a, 8]);
	bytes.writeBigInt64LE(BigInt(value), 2);
	return bytes;
}

/** A tuple of any length. */
export function tuple(...items: (string | Uint8Array)[]): Buffer {
	return join("(", ...items, "t");
}

export function join(...parts: (string | Uint8Array)[]): Buffer {
	return pickle(...parts).subarray(2, -1);
}

/** BINPERSID of a storage. */
export function storage(
	key: string,
	elementCount: number,
	options: { type?: string; view?: string } = {},
): Buffer {
	return join(
		tuple(
			...[text("storage"), `c${options.type ?? "torch\nHalfStorage"}\n`],
			...[text(key), text("cpu"), int(elementCount), options.view ?? ""],
		),
		"Q",
	);
}

/** `_rebuild_tensor_v2` of a storage; `rest` are arguments after the hooks. */
export function tensor(
	of: Uint8Array,
	shape: readonly number[],
	stride: readonly number[],
	offset = 0,
	...rest: (string | Uint8Array)[]
): Buffer {
	return join(
		"ctorch._utils\n_rebuild_tensor_v2\n",
		tuple(
			...[of, int(offset), tuple(...shape.map(int)), tuple(...stride.map(int))],
			...["\x89", "ccollections\nOrderedDict\n)R", ...rest],
		),
		"R",
	);
}

/** A dict of these items, built by SETITEMS. */
export function dict(items: Readonly<Record<string, Uint8Array>>): Buffer {
	const pairs = Object.entries(items).flatMap(([k, v]) => [text(k), v]);
	return join("}(", ...pairs, "u");
}

/** A checkpoint of one F16 tensor `t` with two elements. */
export function soundArchive(
	changes: Partial<Record<string, Uint8Array>> = {},
) {
	const records: Record<string, Uint8Array | undefined> = {
		"data.pkl": pickle(dict({ t: tensor(storage("0", 2), [2], [1]) })),
		byteorder: Buffer.from("little"),
		"data/0": Buffer.from([1, 2, 3, 4]),
		version: Buffer.from("3\n"),
		...changes,
	};
	return Object.entries(records).flatMap(([name, data]): MadeRecord[] =>
		data ? [{ name: `model/${name}`, data }] : [],
	);
}
