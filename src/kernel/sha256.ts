import type { Kernel, Sha256Crc32 } from "./kernel.ts";

const BLOCK_BYTES = 64;
/** Where the bit length begins in the last block. */
const LENGTH_OFFSET = 56;
/** The fractions of the square roots of the first eight primes (FIPS 180-4, 5.3.3). */
const FIRST_WORDS = [
	...[0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a],
	...[0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19],
];

/** In the state, behind the eight words: how many bytes there were, and of the last those that fill no block yet. */
const COUNT_OFFSET = 32;
const REST_OFFSET = COUNT_OFFSET + 8;
export const SHA256_STATE_BYTES = REST_OFFSET + BLOCK_BYTES;

/** The SHA-256 of bytes that come in parts, for a kernel that takes their CRC-32 at the same time. */
export class Sha256 {
	private readonly crc32: Kernel["crc32"];
	private readonly sha256Crc32: Sha256Crc32;
	private readonly words: Uint32Array;
	private readonly count: Float64Array;
	private readonly rest: Uint8Array;

	/** @param state  `SHA256_STATE_BYTES` that are zero, or as another left them, which goes on here then */
	constructor(
		{ crc32 }: Kernel,
		sha256Crc32: Sha256Crc32,
		state: ArrayBufferLike = new ArrayBuffer(SHA256_STATE_BYTES),
	) {
		this.crc32 = crc32;
		this.sha256Crc32 = sha256Crc32;
		this.words = new Uint32Array(state, 0, FIRST_WORDS.length);
		this.count = new Float64Array(state, COUNT_OFFSET, 1);
		this.rest = new Uint8Array(state, REST_OFFSET, BLOCK_BYTES);
		if (this.byteLength === 0) this.words.set(FIRST_WORDS);
	}

	private get byteLength(): number {
		return this.count[0] as number;
	}

	/**
	 * @param before  CRC-32 of the bytes before these; 0 where there are none
	 * @returns the CRC-32 of both
	 */
	update(bytes: Uint8Array, before = 0): number {
		const filled = this.byteLength % BLOCK_BYTES;
		this.count[0] = this.byteLength + bytes.length;
		const missing = Math.min(
			(BLOCK_BYTES - filled) % BLOCK_BYTES,
			bytes.length,
		);
		const begin = bytes.subarray(0, missing);
		this.rest.set(begin, filled);
		if (missing > 0 && filled + missing === BLOCK_BYTES)
			this.sha256Crc32(this.words, this.rest, 0);
		const end = bytes.length - ((bytes.length - missing) % BLOCK_BYTES);
		const whole = bytes.subarray(missing, end);
		const crc = this.sha256Crc32(this.words, whole, this.take(begin, before));
		const rest = bytes.subarray(end);
		this.rest.set(rest);
		return this.take(rest, crc);
	}

	/** The SHA-256 in hex of all bytes so far, to which more may come. */
	digest(): string {
		const filled = this.byteLength % BLOCK_BYTES;
		const length = (filled < LENGTH_OFFSET ? 1 : 2) * BLOCK_BYTES;
		const last = Buffer.alloc(length);
		last.set(this.rest.subarray(0, filled));
		last[filled] = 0x80;
		last.writeBigUInt64BE(BigInt(this.byteLength) * 8n, length - 8);
		const words = Uint32Array.from(this.words); // not shared
		this.sha256Crc32(words, last, 0);
		return Array.from(words, (word) => word.toString(16).padStart(8, "0")).join(
			"",
		);
	}

	private take(bytes: Uint8Array, before: number): number {
		return bytes.length === 0 ? before : this.crc32(bytes, before);
	}
}
