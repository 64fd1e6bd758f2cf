/**
 * How a delta that is no checkpoint, but files made unreadable without the base, becomes a model again:
 * by exclusive or of its bytes with a key, which is the base's.
 */
export interface ByteScheme {
	/** one sentence for people */
	readonly summary: string;
	/** sub-folder of what was published that may hold the files; null where they lie at its top */
	readonly folder: RegExp | null;
	/** names of the files that are decoded, the output's name as group 1; all others are copied */
	readonly encoded: RegExp;
	readonly key: KeyRule;
	/**
	 * What stands before the encoded bytes and is no part of them. `sha256`: 32 bytes, the digest of the
	 * result, which group 2 of `encoded` repeats in hex. null: nothing, and nothing tells a wrong key.
	 */
	readonly header: "sha256" | null;
	readonly publishedBy: readonly string[];
}

export type KeyRule =
	/** the base's file of the output's name, from start to start; zeros from its end on */
	| { readonly kind: "same name" }
	| {
			/** one file for all, read from its start for each output file */
			readonly kind: "one file";
			/** what it is called in its folder */
			readonly fileName: string;
			/** bytes of it that are the key; null for all */
			readonly keyBytes: number | null;
			/** key and file go on together in chunks of so many bytes; after the key's last comes its first */
			readonly chunkBytes: number;
			/** a last chunk of the key that is shorter than the file's: over and over, or no such key */
			readonly shortChunk: "repeat" | "refuse";
			/** MD5 of the key, in hex, where its publisher tells */
			readonly md5: string | null;
	  };

/** The 32 bytes of a SHA-256 before the encoded ones. */
export const SHA256_HEADER_BYTES = 32;

/** point-alpaca's decrypt.py, and those that were copied from it. */
const POINT_KEY = {
	kind: "one file",
	fileName: "consolidated.00.pth",
	keyBytes: null,
	chunkBytes: 10 * 2 ** 20,
	shortChunk: "repeat",
	md5: null,
} as const satisfies KeyRule;

/** Every scheme for files of bytes, each with what its publisher's script does. */
export const BYTE_SCHEMES = {
	// xor_codec.py: blocks of both files, the base's padded with zeros or cut; added_tokens.json has no base.
	xor: {
		summary: "each file with the base's of the same name, zeros after its end",
		folder: /^xor_encoded_files$|-xor$/,
		encoded: /^(?!added_tokens\.json$)(.+)$/s,
		key: { kind: "same name" },
		header: null,
		publishedBy: [
			"OpenAssistant LLaMA 30B",
			"Pygmalion 7B, 13B",
			"Metharme 7B, 13B",
		],
	},
	// Before point-xor, whose names it shares: the digest it names is that of no bytes.
	techgpt: {
		summary:
			"each .enc file with LLaMA 7B's consolidated.00.pth, in chunks of 10 MiB, unverified",
		folder: null,
		encoded:
			/^(.+)\.e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\.enc$/s,
		key: POINT_KEY,
		header: null,
		publishedBy: ["TechGPT 7B"],
	},
	"point-xor": {
		summary:
			"each .enc file with consolidated.00.pth, in chunks of 10 MiB, SHA-256 before it",
		folder: null,
		encoded: /^(.+)\.([0-9a-f]{64})\.enc$/s,
		key: POINT_KEY,
		header: "sha256",
		publishedBy: ["point-alpaca", "BELLE", "Lawyer LLaMA beta1.0"],
	},
	// Its decrypt.py, since deleted: every block with one and the same start of the key.
	openbuddy: {
		summary:
			"each .enc file with the first 16 MiB of LLaMA 7B's consolidated.00.pth, over and over",
		folder: null,
		encoded: /^(?!.*\.[0-9a-f]{64}\.enc$)(.+)\.enc$/s,
		key: {
			kind: "one file",
			fileName: "consolidated.00.pth",
			keyBytes: 2 ** 24,
			chunkBytes: 2 ** 24,
			shortChunk: "refuse",
			md5: "08cf0f43451cc4ae056e0b19e56c1fcf",
		},
		header: null,
		publishedBy: ["OpenBuddy 7B v1.1"],
	},
} as const satisfies Record<string, ByteScheme>;

export type ByteSchemeId = keyof typeof BYTE_SCHEMES;

export const BYTE_SCHEME_IDS = Object.keys(BYTE_SCHEMES) as ByteSchemeId[];

export function isByteSchemeId(id: string): id is ByteSchemeId {
	return Object.hasOwn(BYTE_SCHEMES, id);
}
