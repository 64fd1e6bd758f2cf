/*
 * What the publishers' scripts do, written down once more from their descriptions, whole buffers at a
 * time: they share nothing with the program but the rules.
 */

/** xor_codec.py: block by block, the base's block padded with zeros or cut. */
export function xorCodec(
	payload: Uint8Array,
	base: Uint8Array,
	blockBytes = 4096,
): Uint8Array {
	const out: number[] = [];
	for (let at = 0; ; at += blockBytes) {
		const a = Array.from(payload.slice(at, at + blockBytes));
		let b = Array.from(base.slice(at, at + blockBytes));
		while (b.length < a.length) b.push(0);
		b = b.slice(0, a.length);
		for (const [i, byte] of a.entries()) out.push(byte ^ (b[i] as number));
		if (a.length < blockBytes) return Uint8Array.from(out);
	}
}

/** decrypt.py of point-alpaca, BELLE and TechGPT, after its header: two files read in step. */
export function pointDecrypt(
	encoded: Uint8Array,
	key: Uint8Array,
	chunkBytes = 10 * 1024 * 1024,
): Uint8Array {
	const out = new Uint8Array(encoded.length);
	let keyFile = 0;
	const readKey = () => {
		const chunk = key.slice(keyFile, keyFile + chunkBytes);
		keyFile += chunk.length;
		return chunk;
	};
	for (let at = 0; at < encoded.length; at += chunkBytes) {
		const chunk = encoded.slice(at, at + chunkBytes);
		let keyChunk = readKey();
		if (keyChunk.length === 0) {
			keyFile = 0;
			keyChunk = readKey();
		}
		for (let i = 0; i < chunk.length; i++)
			out[at + i] =
				(chunk[i] as number) ^ (keyChunk[i % keyChunk.length] as number);
	}
	return out;
}

/** decrypt.py of OpenBuddy: every block with the seed. */
export function openBuddyDecrypt(
	encoded: Uint8Array,
	key: Uint8Array,
	seedBytes = 16 * 1024 * 1024,
): Uint8Array {
	const seed = key.slice(0, seedBytes);
	return encoded.map((byte, i) => byte ^ (seed[i % seedBytes] as number));
}
