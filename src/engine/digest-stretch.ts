import { throwIfAborted } from "../errors.ts";
import type { ChecksumAlgorithm } from "../format/checksum-file.ts";
import type { ByteSource } from "../io/byte-source.ts";
import type { Digest } from "./digest.ts";
import { eachInSlot } from "./each-in-slot.ts";
import type { Engine } from "./engine.ts";
import {
	cutStretch,
	pieceBytesIn,
	readStretch,
	type Stretch,
} from "./stretch.ts";

/**
 * The checksum of a stretch of a file, in hex; several may be under way in one engine. CRCs that the file
 * tells of records in the stretch are checked.
 *
 * @param where  the file, for messages
 * @throws {FormatError} where a CRC is another
 */
export async function digestStretch(
	engine: Engine,
	source: Pick<ByteSource, "read" | "checkedRanges">,
	stretch: Stretch,
	where: string,
	algorithm: ChecksumAlgorithm = "sha256",
): Promise<string> {
	const { fileOffset: begin, byteLength } = stretch;
	const checkedRanges = (source.checkedRanges ?? []).filter(
		(range) => range.begin >= begin && range.end <= begin + byteLength,
	);
	const digest = engine.openDigest({ algorithm, checkedRanges, begin });
	await hashStretch(engine, digest, source, stretch, where);
	return digest.finish();
}

/** Give the bytes of a stretch of a file to a digest. */
export async function hashStretch(
	engine: Engine,
	digest: Digest,
	source: Pick<ByteSource, "read">,
	stretch: Stretch,
	where: string,
): Promise<void> {
	const pieces = cutStretch(stretch, pieceBytesIn(engine.slots.slotBytes));
	await eachInSlot(engine.slots, pieces, async (piece, slot) => {
		const place = digest.takePlace();
		try {
			throwIfAborted(engine.options.signal, where);
			const byteOffset = await readStretch(source, piece, slot);
			await place.hash(byteOffset, piece.byteLength);
		} finally {
			place.skip();
		}
	});
}

/** The checksum of a whole file. */
export function digestFile(
	engine: Engine,
	source: ByteSource,
	where: string,
	algorithm?: ChecksumAlgorithm,
): Promise<string> {
	const whole = { fileOffset: 0, byteLength: source.byteLength };
	return digestStretch(engine, source, whole, where, algorithm);
}
