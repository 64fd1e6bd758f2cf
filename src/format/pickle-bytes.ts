import { isUtf8 } from "node:buffer";
import { PickleEndsEarly, pickleFault } from "./pickle-value.ts";

const MAX_STRING_BYTES = 65_536;
const MAX_GLOBAL_BYTES = 256;
const NEWLINE = 0x0a;

/** The bytes of a pickle, taken one operand after the other. */
export class PickleBytes {
	/** offset of the byte that is taken next */
	at: number;
	protected readonly bytes: Buffer;
	protected readonly where: string;
	/** of the opcode that is being done, for messages */
	protected opcodeAt: number;

	constructor(bytes: Uint8Array, where: string, byteOffset: number) {
		this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
		this.where = where;
		this.at = byteOffset;
		this.opcodeAt = byteOffset;
	}

	/** @throws {FormatError} at the opcode that is being done */
	fail(what: string): never {
		throw pickleFault(this.where, this.opcodeAt, what);
	}

	/** Text up to a newline: the module or the name of a global. */
	line(): string {
		const end = this.bytes.indexOf(NEWLINE, this.at);
		const byteLength = (end < 0 ? this.bytes.length : end) - this.at;
		if (byteLength > MAX_GLOBAL_BYTES)
			this.fail(`a global's name is longer than ${MAX_GLOBAL_BYTES} bytes`);
		const text = this.take(byteLength).toString("latin1");
		this.take(1);
		return text;
	}

	/** BINUNICODE: a length of 4 bytes, and UTF-8. */
	text(): string {
		const byteLength = this.unsigned(4);
		if (byteLength > MAX_STRING_BYTES)
			this.fail(
				`a string of ${byteLength} bytes, more than ${MAX_STRING_BYTES}`,
			);
		const bytes = this.take(byteLength);
		if (!isUtf8(bytes)) this.fail("a string that is not UTF-8");
		return bytes.toString("utf8");
	}

	/** LONG1: two's complement of any length, here at most 8 bytes. */
	long(): number {
		const byteLength = this.unsigned(1);
		const bytes = this.take(byteLength);
		if (byteLength === 0) return 0;
		const value =
			byteLength <= 6
				? bytes.readIntLE(0, byteLength)
				: byteLength <= 8
					? Number(longOf(bytes))
					: Number.NaN;
		if (!Number.isSafeInteger(value)) this.fail("an int beyond 2^53");
		return value;
	}

	unsigned(byteLength: 1 | 2 | 4): number {
		return this.take(byteLength).readUIntLE(0, byteLength);
	}

	signed(): number {
		return this.take(4).readInt32LE();
	}

	double(): number {
		return this.take(8).readDoubleBE();
	}

	private take(byteLength: number): Buffer {
		const begin = this.at;
		if (byteLength > this.bytes.length - begin)
			throw new PickleEndsEarly(
				pickleFault(
					this.where,
					this.opcodeAt,
					"the pickle ends in the middle",
					"An incomplete download? Get the file again",
				).fault,
			);
		this.at += byteLength;
		return this.bytes.subarray(begin, this.at);
	}
}

function longOf(bytes: Buffer): bigint {
	const unsigned = bytes.reduceRight(
		(value, byte) => (value << 8n) | BigInt(byte),
		0n,
	);
	return BigInt.asIntN(bytes.length * 8, unsigned);
}
