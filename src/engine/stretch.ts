import type { ByteSource } from "../io/byte-source.ts";
import { DIRECT_ALIGNMENT } from "../io/direct-io.ts";
import type { Slot } from "./slots.ts";

/** Bytes of a file that lie together. */
export interface Stretch {
	fileOffset: number;
	byteLength: number;
}

/** More in one read has not helped any disk that was measured. */
const READ_BYTES = 2 ** 22;
/** So that a piece holds whole elements of every type: those of 6 bits put 4 into 3 bytes. */
const UNIT_BYTES = 3 * DIRECT_ALIGNMENT;

/** The longest pieces that `readStretch` can put into so much room. */
export function pieceBytesIn(roomBytes: number): number {
	const most = Math.min(READ_BYTES, roomBytes) - DIRECT_ALIGNMENT;
	return Math.floor(most / UNIT_BYTES) * UNIT_BYTES;
}

/** Cut a stretch into pieces of one length, but for the last. */
export function* cutStretch(
	{ fileOffset, byteLength }: Stretch,
	pieceBytes: number,
): Generator<Stretch> {
	for (let at = 0; at < byteLength; at += pieceBytes)
		yield {
			fileOffset: fileOffset + at,
			byteLength: Math.min(pieceBytes, byteLength - at),
		};
}

/**
 * Read a stretch into a slot, with what lies before it up to where direct I/O can begin.
 *
 * @param slotOffset  a multiple of `DIRECT_ALIGNMENT`
 * @returns where it begins in the memory of the slots
 */
export async function readStretch(
	source: Pick<ByteSource, "read">,
	{ fileOffset, byteLength }: Stretch,
	slot: Slot,
	slotOffset = 0,
): Promise<number> {
	const before = fileOffset % DIRECT_ALIGNMENT;
	const into = slot.view(slotOffset, before + byteLength);
	await source.read(fileOffset - before, into);
	return slot.byteOffset + slotOffset + before;
}
