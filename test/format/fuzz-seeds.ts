import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

const FIXTURES = fileURLToPath(new URL("../../fixtures", import.meta.url));
const MAX_SEED_BYTES = 65_536;

/**
 * Files of the corpus and of the torch fixtures with this name that begin so: faulty ones make good
 * seeds too. In the order of their paths.
 */
export async function seedsOf(fileName: RegExp, start = ""): Promise<Buffer[]> {
	const files: string[] = [];
	for (const folder of ["invalid", "torch"])
		for (const name of await readdir(path.join(FIXTURES, folder), {
			recursive: true,
		}))
			if (fileName.test(path.basename(name)))
				files.push(path.join(FIXTURES, folder, name));
	const contents = await Promise.all(
		files.sort().map((file) => readFile(file)),
	);
	return contents.filter(
		(bytes) =>
			bytes.length > 0 &&
			bytes.length < MAX_SEED_BYTES &&
			bytes.toString("latin1", 0, start.length) === start,
	);
}

/** The pickle in a zip of the corpus: the first record, up to the next mark of a zip. */
export function pickleIn(zip: Buffer): Buffer {
	const begin = zip.indexOf("data.pkl") + "data.pkl".length;
	return zip.subarray(begin, zip.indexOf("PK", begin));
}

export const JSON_TOKENS = [
	...['"', "\\", "{", "}", "[", "]", ",", ":", "0", "-1", "1e9", "1.5"],
	...["null", "true", "\\ud800", "\\u0061", "\xff", "\xef\xbb\xbf", "\0"],
	...['"a":', '"dtype":', '"F4"', '"shape":', '"data_offsets":', "[[[["],
	...['"__metadata__":{', '"weight_map":{', '"../x.safetensors"'],
];
const OPCODES =
	"(.012BCFGIJKLMNPQRSTUVX]abcdeghijloqprstu})\x80\x82\x85\x86\x87\x88\x89\x8a\x8c\x93\x95";
export const PICKLE_TOKENS = [
	...OPCODES,
	...["\x80\x02", "cos\nsystem\n", "ctorch\nHalfStorage\n", "\x8a\xff", "K\0"],
	...["ccollections\nOrderedDict\n)R", "X\xff\xff\xff\xff", "h\0", "q\0"],
	...["j\xff\xff\xff\xff", "J\xff\xff\xff\xff", "((((", "X\x01\0\0\0a", "s."],
];
export const ZIP_TOKENS = [
	...["PK\x01\x02", "PK\x03\x04", "PK\x05\x06", "PK\x06\x06", "PK\x06\x07"],
	...["m/", "../", "data.pkl", "data/0", "version", "byteorder", "little"],
];
export const CHECKSUM_TOKENS = [
	...["\\", "\n", "\r", "  ", " *", "SHA256 (", ") = ", "../", "#"],
];
