import { isUtf8 } from "node:buffer";
import { FormatError } from "../errors.ts";

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const MAX_DEPTH = 64;
const [QUOTE, BACKSLASH, MINUS] = [0x22, 0x5c, 0x2d];

/** What to do about a file that breaks its format. */
export const DAMAGED =
	"The file is damaged, or a faulty writer made it: get it again";

/**
 * Reads JSON from bytes, token by token, refusing whatever two readers could understand differently:
 * duplicate names, integers written as `2.0` or beyond 2^53 − 1, lone surrogates, a byte order mark,
 * anything after the end. `JSON.parse` lets all of these pass silently.
 */
export class JsonScanner {
	private at = 0;
	private depth = 0;
	private readonly bytes: Buffer;
	private readonly where: string;
	private readonly fileOffset: number;

	/**
	 * @param where       the file, for messages
	 * @param fileOffset  where in the file `bytes` starts, so that faults are named by file offset
	 * @throws {FormatError} where the bytes are not UTF-8
	 */
	constructor(bytes: Uint8Array, where: string, fileOffset = 0) {
		this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
		this.where = where;
		this.fileOffset = fileOffset;
		if (!isUtf8(this.bytes))
			this.fail("JSON is not UTF-8", fileOffset + firstNonUtf8(this.bytes));
	}

	/** Byte offset in the file of the next token. */
	get offset(): number {
		return this.fileOffset + this.at;
	}

	/** The next significant byte as a character, not consumed; `""` at the end. */
	peek(): string {
		while (this.at < this.bytes.length && isSpace(this.bytes[this.at]))
			this.at++;
		const byte = this.bytes[this.at];
		return byte === undefined ? "" : String.fromCharCode(byte);
	}

	/** @throws {FormatError} at `offset` */
	fail(what: string, offset = this.offset, expected?: string): never {
		throw new FormatError({
			where: `${this.where}, byte ${offset}`,
			what,
			...(expected === undefined ? {} : { expected }),
			remedy: DAMAGED,
		});
	}

	/** Call `member` for each name of an object; it must consume the value. Names are unique. */
	object(member: (name: string, offset: number) => void): void {
		const names = new Set<string>();
		this.sequence("{", "}", () => {
			this.peek();
			const offset = this.offset;
			const name = this.string();
			if (names.has(name))
				this.fail(`duplicate name ${JSON.stringify(name)}`, offset);
			names.add(name);
			this.expect(":");
			member(name, offset);
		});
	}

	/** Call `item` for each element of an array; it must consume the element. */
	array(item: () => void): void {
		this.sequence("[", "]", item);
	}

	/** A string, its escapes resolved. */
	string(): string {
		if (this.peek() !== '"') this.fail("not a string", this.offset, 'a "');
		const start = this.at++;
		let escaped = false;
		for (; ; this.at++) {
			const byte = this.bytes[this.at];
			if (byte === undefined)
				this.fail("string without end", this.fileOffset + start);
			if (byte === QUOTE) break;
			if (byte < 0x20) this.fail("raw control character in a string");
			if (byte === BACKSLASH) {
				escaped = true;
				this.at++;
			}
		}
		this.at++;
		const text = this.bytes.toString("utf8", start + 1, this.at - 1);
		if (!escaped) return text;
		try {
			const value: string = JSON.parse(`"${text}"`);
			if (!/\p{Surrogate}/u.test(value)) return value;
		} catch {
			this.fail("malformed escape in a string", this.fileOffset + start);
		}
		return this.fail("lone surrogate in a string", this.fileOffset + start);
	}

	/** A whole number from 0 to 2^53 − 1 in its only canonical spelling: digits, no leading zero. */
	integer(): number {
		this.peek();
		const offset = this.offset;
		const literal = this.literal();
		if (!/^(0|[1-9]\d*)$/.test(literal))
			this.fail(
				`not a whole number: ${literal.slice(0, 40) || this.peek()}`,
				offset,
				"digits only",
			);
		const value = Number(literal);
		if (!Number.isSafeInteger(value))
			this.fail(
				`number ${literal.slice(0, 40)} is too large`,
				offset,
				"at most 2^53 - 1",
			);
		return value;
	}

	/** Any JSON number, as a double. */
	number(): number {
		this.peek();
		const offset = this.offset;
		const literal = this.literal();
		if (!NUMBER.test(literal)) this.fail("not a number", offset);
		return Number(literal);
	}

	/** Pass over one value of any kind, still checking that it is JSON. */
	skip(): void {
		const next = this.peek();
		const skipOne = () => this.skip();
		if (next === "{") this.object(skipOne);
		else if (next === "[") this.array(skipOne);
		else if (next === '"') this.string();
		else this.skipLiteral();
	}

	private skipLiteral(): void {
		const offset = this.offset;
		const literal = this.literal();
		if (!["true", "false", "null"].includes(literal) && !NUMBER.test(literal))
			this.fail("not a JSON value", offset);
	}

	/** @throws {FormatError} unless only JSON white space is left */
	end(): void {
		if (this.peek() !== "") this.fail("bytes after the end of the JSON value");
	}

	private literal(): string {
		const start = this.at;
		while (isLiteral(this.bytes[this.at])) this.at++;
		return this.bytes.toString("latin1", start, this.at);
	}

	private sequence(open: string, close: string, item: () => void): void {
		this.expect(open);
		if (++this.depth > MAX_DEPTH)
			this.fail(`JSON nested deeper than ${MAX_DEPTH}`);
		if (this.peek() !== close) {
			for (;;) {
				item();
				if (this.peek() !== ",") break;
				this.at++;
			}
		}
		this.expect(close);
		this.depth--;
	}

	private expect(character: string): void {
		const found = this.peek();
		if (found !== character)
			this.fail(
				found === ""
					? "JSON ends early"
					: `unexpected ${JSON.stringify(found)}`,
				this.offset,
				JSON.stringify(character),
			);
		this.at++;
	}
}

function isSpace(byte: number | undefined): boolean {
	return byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;
}

/** Bytes that numbers, `true`, `false` and `null` are made of. */
function isLiteral(byte: number | undefined): boolean {
	if (byte === undefined) return false;
	return (
		(byte >= 0x30 && byte <= 0x39) ||
		(byte >= 0x61 && byte <= 0x7a) ||
		(byte >= 0x41 && byte <= 0x5a) ||
		byte === MINUS ||
		byte === 0x2b ||
		byte === 0x2e
	);
}

/** Where decoding and encoding again first gives other bytes. */
function firstNonUtf8(bytes: Buffer): number {
	const again = Buffer.from(bytes.toString("utf8"));
	return bytes.findIndex((byte, i) => again[i] !== byte);
}
