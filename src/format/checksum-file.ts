import { FormatError } from "../errors.ts";

/** The file of checksums in every output folder. */
export const CHECKSUM_FILE_NAME = "SHA256SUMS";

/** A parsed checksum file; `name` is relative to the folder that holds it. */
export interface ChecksumFile {
	entries: readonly { name: string; sha256: string }[];
	/** 1-based numbers of lines that are no checksum, comment or blank */
	malformedLines: readonly number[];
}

/**
 * Parse a checksum file as `sha256sum -c` does: GNU lines (`hex  name`, `hex *name`, escaped with a
 * leading `\`) and BSD lines (`SHA256 (name) = hex`), upper-case digits, CRLF, comments.
 *
 * @throws {FormatError} for a name outside the folder, another algorithm, or a name with two digests
 */
export function parseChecksumFile(text: string, where: string): ChecksumFile {
	const digests = new Map<string, string>();
	const malformedLines: number[] = [];
	text.split("\n").forEach((raw, i) => {
		const line = raw.replace(/\r$/, "");
		if (line === "" || line.startsWith("#")) return;
		const at = `${where}, line ${i + 1}`;
		const entry = parseLine(line);
		if (entry === null) {
			refuseOtherAlgorithm(line, at);
			malformedLines.push(i + 1);
			return;
		}
		checkName(entry.name, at);
		const known = digests.get(entry.name);
		if (known !== undefined && known !== entry.sha256)
			throw new FormatError({
				where: at,
				what: `a second, different checksum of ${JSON.stringify(entry.name)}`,
				remedy: "Find out which one is right",
			});
		digests.set(entry.name, entry.sha256);
	});
	return {
		entries: Array.from(digests, ([name, sha256]) => ({ name, sha256 })),
		malformedLines,
	};
}

function parseLine(line: string): { name: string; sha256: string } | null {
	const escaped = line.startsWith("\\");
	const body = escaped ? line.slice(1) : line;
	const gnu = /^([0-9a-f]{64}) [ *](.+)$/i.exec(body);
	const bsd = gnu ? null : /^SHA256 \((.+)\) = ([0-9a-f]{64})$/i.exec(body);
	const [name, digest] = gnu ? [gnu[2], gnu[1]] : [bsd?.[1], bsd?.[2]];
	if (name === undefined || digest === undefined) return null;
	const plain = escaped ? unescapeName(name) : name;
	return plain === null ? null : { name: plain, sha256: digest.toLowerCase() };
}

function unescapeName(name: string): string | null {
	let valid = true;
	const plain = name.replace(/\\(.?)/g, (_, letter: string) => {
		const character = { n: "\n", r: "\r", "\\": "\\" }[letter];
		valid &&= character !== undefined;
		return character ?? "";
	});
	return valid ? plain : null;
}

function refuseOtherAlgorithm(line: string, where: string): void {
	const gnu = /^\\?(?![0-9a-f]{64} )([0-9a-f]{32,128}) [ *]./i.exec(line)?.[1];
	const bsd = /^([A-Z0-9-]+) \(.+\) = [0-9a-f]+$/i.exec(line)?.[1];
	if (
		gnu !== undefined ||
		(bsd !== undefined && bsd.toUpperCase() !== "SHA256")
	)
		throw new FormatError({
			where,
			what: "not a SHA-256 checksum",
			expected: "64 hexadecimal digits",
			found: gnu === undefined ? `${bsd}` : `${gnu.length}`,
			remedy: "Only SHA-256 can be verified",
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
			const escaped = name.replace(
				/[\n\r\\]/g,
				(character) => ({ "\n": "\\n", "\r": "\\r" })[character] ?? "\\\\",
			);
			return `${escaped === name ? "" : "\\"}${sha256}  ${escaped}\n`;
		})
		.join("");
}
