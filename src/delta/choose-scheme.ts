import { MismatchError } from "../errors.ts";
import { BYTE_SCHEMES, type ByteSchemeId } from "./byte-schemes.ts";

/** What names alone give away, the most particular first. */
const NAMED = [
	"techgpt",
	"point-xor",
	"openbuddy",
] as const satisfies ByteSchemeId[];

const WEIGHTS = /\.(safetensors|bin|pt|pth)$/;

/**
 * The scheme that names its files so, or null where none does or tensors lie beside them. Names of
 * several schemes are given to `point-xor`, which says which ones are not its own.
 */
export function schemeOfNames(
	fileNames: readonly string[],
): ByteSchemeId | null {
	const encoded = fileNames.filter((name) => name.endsWith(".enc"));
	const tensors = fileNames.some((name) => name.endsWith(".safetensors"));
	if (encoded.length === 0 || tensors) return null;
	return (
		NAMED.find((id) =>
			encoded.every((name) => BYTE_SCHEMES[id].encoded.test(name)),
		) ?? "point-xor"
	);
}

/** The sub-folders that may hold a payload of `xor`, of a folder that has no weights itself. */
export function xorFolders(
	fileNames: readonly string[],
	folderNames: readonly string[],
): string[] {
	return fileNames.some((name) => WEIGHTS.test(name))
		? []
		: folderNames.filter((name) => BYTE_SCHEMES.xor.folder.test(name));
}

/** The weight files, by their names, that both have. */
export function sharedWeights(
	base: readonly string[],
	delta: readonly string[],
): string[] {
	return delta.filter((name) => WEIGHTS.test(name) && base.includes(name));
}

/**
 * Whether a file holds no weights by itself, but does after exclusive or with the base's of its name.
 *
 * @param base   the first bytes of the base's file, 9 or more
 * @param delta  the first bytes of the delta's file
 */
export function becomesWeights(base: Uint8Array, delta: Uint8Array): boolean {
	const decoded = delta.map((byte, i) => byte ^ (base[i] ?? 0));
	return !beginsAsWeights(delta) && beginsAsWeights(decoded);
}

/** A zip archive or a pickle, as torch writes them; or a length below 2^32 and JSON, as safetensors does. */
function beginsAsWeights(bytes: Uint8Array): boolean {
	const hex = Buffer.from(bytes.subarray(0, 9)).toString("hex");
	const brace = "{".charCodeAt(0).toString(16);
	return (
		hex.startsWith("504b0304") ||
		hex.startsWith("8002") ||
		hex.endsWith(`00000000${brace}`)
	);
}

/** Refusal to guess: nothing in the bytes would tell a wrong base. */
export function perhapsXor(where: string, evidence: string): MismatchError {
	const { summary, publishedBy } = BYTE_SCHEMES.xor;
	return new MismatchError({
		where,
		what: `${evidence}, so it may be a delta of bytes`,
		remedy: "If it is one, say so: --convention xor",
		details: [`xor: ${summary} (${publishedBy.join(", ")})`],
	});
}
