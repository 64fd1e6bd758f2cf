import { FormatError } from "../errors.ts";

/** What a file that should hold weights may be instead, by how it begins, and what to do about it. */
const SIGNATURES: readonly {
	/** in lower case */
	prefixes: readonly string[];
	/** where they stand; default: at the start, after white space */
	byteOffset?: number;
	is: string;
	remedy: string;
}[] = [
	{
		prefixes: ["version https://git-lfs"],
		is: "a Git LFS pointer, not the file itself",
		remedy: 'Run "git lfs pull" in the clone, or download the file',
	},
	{
		prefixes: ["<!doctype", "<html", "<?xml"],
		is: "a web page",
		remedy:
			"The download went wrong (a login or error page): get the file again",
	},
	{
		prefixes: ["\x1f\x8b"],
		is: "gzip data",
		remedy: "Unpack it with gunzip",
	},
	{
		prefixes: ["pk\x03\x04"],
		is: "a zip archive",
		remedy: "Get the file itself, or unpack it",
	},
	{
		prefixes: ["7z\xbc\xaf\x27\x1c"],
		is: "a 7z archive",
		remedy: "Unpack it with 7z",
	},
	{
		prefixes: ["ustar"],
		byteOffset: 257,
		is: "a tar archive, as torch wrote checkpoints before 0.2",
		remedy:
			"Save it again with a torch of today, in a place where its code may run: torch.save(torch.load(file), file)",
	},
	{
		prefixes: ["%pdf"],
		is: "a PDF document",
		remedy: "Name a weight file",
	},
	{
		prefixes: ["gguf"],
		is: "a GGUF model",
		remedy: "Name the safetensors model it was made from",
	},
];

/**
 * Say what a file is that a reader has refused, from its first bytes; null where nothing is known.
 * Only for messages: no file is ever accepted by its signature.
 *
 * @param leastBytes  the shortest signature to believe, for bytes that may be anything
 */
export function recogniseSignature(
	bytes: Uint8Array,
	leastBytes = 0,
): { is: string; remedy: string } | null {
	const text = Buffer.from(bytes).toString("latin1").toLowerCase();
	return (
		SIGNATURES.find(({ prefixes, byteOffset }) => {
			const from =
				byteOffset === undefined ? text.trimStart() : text.slice(byteOffset);
			return prefixes.some(
				(prefix) => prefix.length >= leastBytes && from.startsWith(prefix),
			);
		}) ?? null
	);
}

/** Whether a file begins as a zip archive does. */
export function isZip(start: Uint8Array): boolean {
	return Buffer.from(start.subarray(0, 4)).toString("latin1") === "PK\x03\x04";
}

/**
 * Parse a file; where that fails and the file is recognisably something else, say what it is instead.
 *
 * @param start     the first bytes of the file, 512 or all
 * @param expected  what it should be, such as `a safetensors file`
 * @throws {FormatError}
 */
export function parseRecognising<T>(
	start: Uint8Array,
	where: string,
	expected: string,
	parse: () => T,
): T {
	try {
		return parse();
	} catch (error) {
		const known = error instanceof FormatError && recogniseSignature(start);
		if (!known) throw error;
		throw new FormatError({
			where,
			what: `not ${expected}`,
			found: known.is,
			remedy: known.remedy,
			cause: error,
		});
	}
}
