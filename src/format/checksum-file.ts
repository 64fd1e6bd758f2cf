import { FormatError } from "../errors.ts";

/** The file of checksums in every output folder. */
export const CHECKSUM_FILE_NAME = "SHA256SUMS";

/** The checksums that can be checked: their length, their name in BSD lines, and the file that lists them. */
export const CHECKSUM_ALGORITHMS = {
	sha256: {
		...{ hexDigits: 64, tag: "SHA256", title: "SHA-256" },
		fileName: CHECKSUM_FILE_NAME,
	},
	md5: { hexDigits: 32, tag: "MD5", title: "MD5", fileName: "MD5SUMS" },
} as const;

export type ChecksumAlgorithm = keyof typeof CHECKSUM_ALGORITHMS;

/** What a file must be; `name` is relative to the folder that holds it. */
export interface ChecksumEntry {
	name: string;
	/** in lower-case hex */
	checksum: string;
}

export interface ChecksumFile {
	entries: readonly ChecksumEntry[];
	/** 1-based numbers of lines that are no checksum, comment or blank */
	malformedLines: readonly number[];
}

/**
 * Parse a checksum file as `sha256sum -c` does (coreutils 9.1): GNU lines (`hex  name`, `hex *name`, escaped
 * with a leading `\`), BSD lines (`SHA256 (name) = hex`) and, if the first is one, BSD's reversed lines
 * (`hex name`); upper-case digits, CRLF, comments.
 *
 * @throws {FormatError} for a name outside the folder, another algorithm, or a name with two checksums
 */
export function parseChecksumFile(
	text: string,
	where: string,
	algorithm: ChecksumAlgorithm = "sha256",
): ChecksumFile {
	const parser = new LineParser(algorithm);
	const checksums = new Map<string, string>();
	const malformedLines: number[] = [];
	text.split("\n").forEach((raw, i) => {
		const line = raw.replace(/\r$/, "");
		if (line === "" || line.startsWith("#")) return;
		const at = `${where}, line ${i + 1}`;
		const entry = parser.parse(line);
		if (entry === null) {
			refuseOtherAlgorithm(line, at, algorithm);
			malformedLines.push(i + 1);
			return;
		}
		checkName(entry.name, at);
		const known = checksums.get(entry.name);
		if (known !== undefined && known !== entry.checksum)
			throw new FormatError({
				where: at,
				what: `a second, different checksum of ${JSON.stringify(entry.name)}`,
				remedy: "Find out which one is right",
			});
		checksums.set(entry.name, entry.checksum);
	});
	return {
		entries: Array.from(checksums, ([name, checksum]) => ({ name, checksum })),
		malformedLines,
	};
}

class LineParser {
	private readonly gnu: RegExp;
	private readonly bsd: RegExp;
	/** whether lines have one blank before the name; null as long as none has told */
	private isReversed: boolean | null = null;

	constructor(algorithm: ChecksumAlgorithm) {
		const { hexDigits, tag } = CHECKSUM_ALGORITHMS[algorithm];
		const hex = `([0-9a-fA-F]{${hexDigits}})`;
		this.gnu = new RegExp(`^${hex}[ \\t](.+)$`, "s");
		this.bsd = new RegExp(`^${tag} ?\\((.+)\\)[ \\t]*=[ \\t]*${hex}$`, "s");
	}

	parse(line: string): ChecksumEntry | null {
		const text = line.replace(/^[ \t]+/, "");
		const isEscaped = text.startsWith("\\");
		const body = isEscaped ? text.slice(1) : text;
		const [, bsdName, bsdHex] = this.bsd.exec(body) ?? [];
		const [, gnuHex, rest] = this.gnu.exec(body) ?? [];
		const name = bsdName ?? (rest === undefined ? null : this.nameIn(rest));
		const checksum = (bsdHex ?? gnuHex)?.toLowerCase();
		if (name === null || checksum === undefined) return null;
		const plain = isEscaped ? unescapeName(name) : name;
		return plain === null ? null : { name: plain, checksum };
	}

	/** The name that follows a checksum and a blank. The two ways to write it are not mixed, or a blank could be lost. */
	private nameIn(rest: string): string | null {
		if (rest.length === 1 || !/^[ *]/.test(rest)) {
			if (this.isReversed === false) return null;
			this.isReversed = true;
		} else if (this.isReversed === null) this.isReversed = false;
		return this.isReversed ? rest : rest.slice(1);
	}
}

function unescapeName(name: string): string | null {
	let valid = true;
	const plain = name.replace(/\\(.?)/gs, (_, letter: string) => {
		const character = { n: "\n", r: "\r", "\\": "\\" }[letter];
		valid &&= character !== undefined;
		return character ?? "";
	});
	return valid ? plain : null;
}

function refuseOtherAlgorithm(
	line: string,
	where: string,
	algorithm: ChecksumAlgorithm,
): void {
	const { hexDigits, tag, title } = CHECKSUM_ALGORITHMS[algorithm];
	const gnu = /^[ \t]*\\?([0-9a-f]{32,128})[ \t]+[^ \t]/i.exec(line)?.[1];
	const bsd = /^[ \t]*\\?([A-Z0-9-]+) ?\(.+\)[ \t]*=[ \t]*[0-9a-f]+$/i.exec(
		line,
	)?.[1];
	const found = bsd ?? gnu?.length.toString();
	if (found === undefined || [tag, `${hexDigits}`].includes(found)) return;
	const other = Object.entries(CHECKSUM_ALGORITHMS).find(
		([id, each]) =>
			id !== algorithm && [each.tag, `${each.hexDigits}`].includes(found),
	);
	throw new FormatError({
		where,
		what: `another checksum than ${title}`,
		expected: `${hexDigits} hexadecimal digits`,
		found,
		remedy: other
			? `A list of ${other[1].title} checksums is checked with --algorithm ${other[0]}`
			: "Only SHA-256 and MD5 can be checked",
	});
}

function checkName(name: string, where: string): void {
	const parts = name.replace(/^\.\//, "").split(/[/\\]/);
	if (
		/^[/\\]|^[a-z]:/i.test(name) ||
		parts.includes("..") ||
		name.includes("\0")
	)
		throw new FormatError({
			where,
			what: `the name ${JSON.stringify(name)} leads out of the folder`,
			remedy: "Only files inside the folder are verified",
		});
}

/** Text of a checksum file that `sha256sum -c --strict` accepts, sorted by name. */
export function encodeChecksumFile(
	entries: Iterable<{ name: string; sha256: string }>,
): string {
	return [...entries]
		.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)))
		.map(({ name, sha256 }) => {
			const escaped = escapeName(name);
			return `${escaped === name ? "" : "\\"}${sha256}  ${escaped}\n`;
		})
		.join("");
}

function escapeName(name: string): string {
	return name.replace(
		/[\n\r\\]/g,
		(character) => ({ "\n": "\\n", "\r": "\\r" })[character] ?? "\\\\",
	);
}

/** A name as `sha256sum -c` tells of it: one with an end of line is escaped, and has a `\` before it. */
export function toldName(name: string): string {
	return /[\n\r]/.test(name) ? `\\${escapeName(name)}` : name;
}
