import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import { INPUT, type MergePlan } from "../../src/delta/plan.ts";
import { Engine } from "../../src/engine/engine.ts";
import { decideEngineOptions } from "../../src/engine/engine-options.ts";
import { InputDigests } from "../../src/engine/input-digests.ts";
import type { ByteRange } from "../../src/engine/read-order.ts";
import type { Slice } from "../../src/engine/slice.ts";
import type { FileSource } from "../../src/io/file-source.ts";

const BYTES = Uint8Array.from({ length: 4000 }, (_, i) => (i * 31) >> 3);

/** A file of four records, each with its CRC. */
function source(damaged = false): FileSource {
	return {
		byteLength: BYTES.length,
		checkedRanges: [0, 1000, 2000, 3000].map((begin) => ({
			...{ where: `record ${begin}`, begin, end: begin + 990 },
			crc32:
				(crc32(BYTES.subarray(begin, begin + 990)) ^ (damaged ? 1 : 0)) >>> 0,
		})),
		read: async (at: number, into: Uint8Array) =>
			into.set(BYTES.subarray(at, at + into.length)),
	} as Partial<FileSource> as FileSource;
}

/** A plan that copies records of the file, in this order. */
function planOf(records: readonly ByteRange[]): MergePlan {
	const segments = records.map(({ begin, end }) => ({
		op: "copy",
		from: {
			...{ input: INPUT.base, shard: 0, fileOffset: begin },
			byteLength: end - begin,
		},
	}));
	return { inputs: [{ shards: [{}] }], shards: [{ segments }] } as never;
}

/** Hash the records in this order, each in two reads. @returns the checksum, and what was read only for it, or twice */
async function hash(order: number[], inputSums: boolean, damaged = false) {
	const engine = new Engine(decideEngineOptions({ kernel: "js" }), 1);
	onTestFinished(() => engine.close());
	const plan = planOf(order.map((begin) => ({ begin, end: begin + 1000 })));
	const digests = new InputDigests(
		...([engine, plan, [[source(damaged)]], inputSums] as const),
		plan.shards,
	);
	const slot = await engine.slots.take();
	slot.view(0, BYTES.length).set(BYTES);
	const cached: ByteRange[] = [];
	const run = async (slice: Slice) => {
		const hashed = digests.takePlaces(slice);
		for (const [i, { wanted, fileOffset }] of slice.reads.entries()) {
			if (hashed[i]?.isOneOfTwo) cached.push(wanted);
			for (const { place, byteOffset, byteLength } of hashed[i]?.hashed ?? [])
				await place.hash(slot.byteOffset + fileOffset + byteOffset, byteLength);
			for (const { take, byteOffset, byteLength } of hashed[i]?.checked ?? [])
				take(crc32(slot.view(fileOffset + byteOffset, byteLength)));
		}
	};
	const again: ByteRange[] = [];
	const catchUp = async (isLast: boolean) => {
		for (const cursor of digests.unfinished)
			for (;;) {
				const slice = cursor.next(2 ** 20, isLast);
				if (slice === null) break;
				for (const { fileOffset, byteLength } of slice.reads)
					again.push({ begin: fileOffset, end: fileOffset + byteLength });
				await run(slice);
			}
	};
	const common = { ...{ input: 0, shard: 0 }, ...NOTHING_ELSE };
	for (const begin of order)
		for (const fileOffset of [begin, begin + 500]) {
			const wanted = { begin: fileOffset, end: fileOffset + 500 };
			const read = { ...common, ...widened(wanted), wanted };
			const slice: Slice = { ...MADE, reads: [read] };
			if (digests.await(slice)) await catchUp(false);
			expect(digests.await(slice)).toBe(false);
			await run(slice);
		}
	await catchUp(true);
	expect(digests.unfinished).toEqual([]);
	const sums = await digests.finish();
	return { again, cached, sha256: sums?.[0]?.[0] ?? null };
}

const EDGE = 20;

/** As direct I/O would: a read touches what lies beside it. */
function widened({ begin, end }: ByteRange) {
	const fileOffset = Math.max(begin - EDGE, 0);
	const byteLength = Math.min(end + EDGE, BYTES.length) - fileOffset;
	return { fileOffset, byteLength };
}

const NOTHING_ELSE = { slotOffset: 0 };
const MADE = {
	...{ literals: [], parts: [] },
	write: { fileOffset: 0, byteLength: 500 },
};
const SHA256 = createHash("sha256").update(BYTES).digest("hex");

test("records that come in any order are checked as they come, and not read again", async () => {
	const { again } = await hash([2000, 0, 3000, 1000], false);
	expect(again).toEqual([]);
});

test("a file whose checksum is wanted is read again only where it came out of order", async () => {
	const upTo = (end: number) => ({ begin: 0, end });
	const halves = (begin: number) => [
		{ begin, end: begin + 500 },
		{ begin: begin + 500, end: begin + 1000 },
	];
	// Reads for the checksum alone begin at a page, which is the file's first here.
	for (const { order, again, cached } of [
		{ order: [0, 1000, 2000, 3000], again: [], cached: [] },
		{
			...{ order: [2000, 0, 1000, 3000], again: [upTo(3000)] },
			cached: [...halves(2000), { begin: 2000 + EDGE, end: 3000 }],
		},
		{
			...{ order: [3000, 0, 1000, 2000], again: [upTo(4000)] },
			cached: [...halves(3000), { begin: 3000 + EDGE, end: 4000 }],
		},
		{
			...{ order: [1000, 2000, 3000, 0], again: [upTo(1000)] },
			cached: [upTo(1000), ...halves(0)],
		},
	])
		expect(await hash(order, true)).toEqual({ again, cached, sha256: SHA256 });
});

test("a damaged record is found in either way", async () => {
	for (const inputSums of [false, true])
		await expect(hash([0, 1000, 2000, 3000], inputSums, true)).rejects.toThrow(
			/record 0.*CRC-32/,
		);
});
