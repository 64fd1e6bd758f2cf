import { MismatchError } from "../errors.ts";
import type { KeyRule } from "./byte-schemes.ts";

/** Encoded bytes that lie together with their bytes of the key. */
export interface KeyStretch {
	/** from the start of the encoded bytes, which is that of the output */
	fileOffset: number;
	byteLength: number;
	/** from the start of the key's file; null where the key has ended and the bytes stay as they are */
	keyOffset: number | null;
}

/** A key that would need more stretches than this for one file is none that was ever used. */
const MAX_STRETCHES = 100_000;

/**
 * Which bytes of the key belong to an encoded file: stretches that tile it, in order, as few as can be.
 *
 * @param byteLength  of the encoded bytes
 * @param keyFile     the base's file
 * @throws {MismatchError} where the key is empty or much too short
 */
export function keyStretches(
	rule: KeyRule,
	keyFile: { where: string; byteLength: number },
	byteLength: number,
): KeyStretch[] {
	if (rule.kind === "same name") {
		const keyBytes = Math.min(keyFile.byteLength, byteLength);
		return [
			{ fileOffset: 0, byteLength: keyBytes, keyOffset: 0 },
			{
				fileOffset: keyBytes,
				byteLength: byteLength - keyBytes,
				keyOffset: null,
			},
		].filter((stretch) => stretch.byteLength > 0);
	}
	const { chunkBytes } = rule;
	const keyBytes = Math.min(keyFile.byteLength, rule.keyBytes ?? Infinity);
	const least =
		rule.shortChunk === "refuse" ? Math.min(chunkBytes, byteLength) : 1;
	if (keyBytes < least) throw shortKey(keyFile, least);
	const stretches: KeyStretch[] = [];
	let keyAt = 0;
	for (let at = 0; at < byteLength; at += chunkBytes) {
		if (keyAt === keyBytes) keyAt = 0;
		const keyChunk = Math.min(chunkBytes, keyBytes - keyAt);
		const end = Math.min(at + chunkBytes, byteLength);
		for (let from = at; from < end; from += keyChunk)
			append(stretches, from, Math.min(keyChunk, end - from), keyAt);
		if (stretches.length > MAX_STRETCHES)
			throw shortKey(keyFile, Math.ceil(byteLength / MAX_STRETCHES));
		keyAt += keyChunk;
	}
	return stretches;
}

function append(
	stretches: KeyStretch[],
	fileOffset: number,
	byteLength: number,
	keyOffset: number,
): void {
	const last = stretches.at(-1);
	if (last && (last.keyOffset ?? 0) + last.byteLength === keyOffset)
		last.byteLength += byteLength;
	else stretches.push({ fileOffset, byteLength, keyOffset });
}

function shortKey(
	{ where, byteLength }: { where: string; byteLength: number },
	least: number,
): MismatchError {
	return new MismatchError({
		where,
		what: "the key is too short",
		expected: `at least ${least} bytes`,
		found: `${byteLength}`,
		remedy: "Is it the right base, and whole?",
	});
}
