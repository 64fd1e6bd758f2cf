import { FormatError } from "../errors.ts";

const DEVICE_NAME = /^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$/i;
const WEIGHT_SUFFIXES = [".safetensors", ".bin"];

/**
 * Check that a shard name from an index is a plain file name on every system: no folder, drive, URL,
 * escape, device or control character. Lexical on purpose: what the name points at may be a symbolic
 * link, as in a Hub cache.
 *
 * @throws {FormatError}
 */
export function checkShardName(name: string, where: string): void {
	const what = shardNameFault(name);
	if (what !== null)
		throw new FormatError({
			where,
			what: `shard name ${JSON.stringify(name)} ${what}`,
			expected: `a plain file name ending in ${WEIGHT_SUFFIXES.join(" or ")}`,
			remedy:
				"Do not use this index: it may be made to read outside its folder",
		});
}

function shardNameFault(name: string): string | null {
	if (name === "") return "is empty";
	if (/[/\\]/.test(name) || /%(2e|2f|5c)/i.test(name)) return "names a folder";
	if (name.includes(":")) return "names a drive or a URL";
	if (/\p{Cc}/u.test(name)) return "holds a control character";
	if (name.startsWith("..")) return "leads out of the folder";
	if (/[. ]$/.test(name) || DEVICE_NAME.test(name))
		return "is not a file name on Windows";
	if (!WEIGHT_SUFFIXES.some((suffix) => name.endsWith(suffix)))
		return "is not of a known weight format";
	return null;
}

/** `model-00002-of-00005.safetensors`, or `model.safetensors` for the only shard; `shardIndex` from 0. */
export function shardFileName(shardIndex: number, shardCount: number): string {
	if (shardCount === 1) return "model.safetensors";
	const five = (value: number) => String(value).padStart(5, "0");
	return `model-${five(shardIndex + 1)}-of-${five(shardCount)}.safetensors`;
}

/**
 * Sort shard names as their numbers count, padded or not: `…-2-of-10.bin` before `…-10-of-10.bin`;
 * names without numbers by their text.
 */
export function sortShardNames(names: Iterable<string>): string[] {
	const number = (name: string) =>
		Number(/-(\d+)-of-\d+\.[a-z]+$/.exec(name)?.[1] ?? 0);
	return [...names].sort((a, b) => number(a) - number(b) || (a < b ? -1 : 1));
}
