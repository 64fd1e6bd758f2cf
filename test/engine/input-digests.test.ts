import { crc32 } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import { Engine } from "../../src/engine/engine.ts";
import { decideEngineOptions } from "../../src/engine/engine-options.ts";
import { InputDigests } from "../../src/engine/input-digests.ts";
import type { ByteSource } from "../../src/io/byte-source.ts";

const BYTES = Uint8Array.from({ length: 3000 }, (_, i) => (i * 31) >> 3);

/** A file of three records, each with its CRC. */
function source(damaged = false): ByteSource {
	return {
		byteLength: BYTES.length,
		checkedRanges: [0, 1000, 2000].map((begin) => ({
			...{ where: `record ${begin}`, begin, end: begin + 990 },
			crc32:
				(crc32(BYTES.subarray(begin, begin + 990)) ^ (damaged ? 1 : 0)) >>> 0,
		})),
		read: async (at, into) => into.set(BYTES.subarray(at, at + into.length)),
	};
}

/** Hash the records in this order, each in two reads; what is left to read then. */
async function hash(order: number[], inputSums: boolean, damaged = false) {
	const engine = new Engine(decideEngineOptions({ kernel: "js" }), 1);
	onTestFinished(() => engine.close());
	const digests = new InputDigests(engine, [[source(damaged)]], inputSums);
	const slot = await engine.slots.take();
	slot.view(0, BYTES.length).set(BYTES);
	for (const begin of order)
		for (const fileOffset of [begin, begin + 500]) {
			const byteLength = 500;
			const read = { input: 0, shard: 0, fileOffset, byteLength };
			for (const each of digests.takePlaces({ ...read, slotOffset: 0 }))
				await each.place.hash(
					slot.byteOffset + fileOffset + each.byteOffset,
					each.byteLength,
				);
		}
	return [...digests.remainder(2 ** 20)];
}

test("records that come in any order are checked as they come, and not read again", async () => {
	expect(await hash([2000, 0, 1000], false)).toEqual([]);
});

test("a file whose checksum is wanted is read again where it came out of order", async () => {
	expect(await hash([0, 1000, 2000], true)).toEqual([]);
	await expect(hash([2000, 0, 1000], true)).rejects.toThrow(
		"a slice to catch up was not run",
	);
});

test("a damaged record is found in either way", async () => {
	for (const inputSums of [false, true])
		await expect(hash([0, 1000, 2000], inputSums, true)).rejects.toThrow(
			/record 0.*CRC-32/,
		);
});
