/**
 * What a known file is: weights of a base, a delta, a merged model; the key of a byte-wise cipher; or a
 * config or tokenizer file.
 */
export type KnownRole = "base" | "delta" | "merged" | "key" | "side";

/** One file somebody published a checksum of. At least one of the two sums is there. */
export interface KnownFile {
	/** in hex, lower case */
	sha256?: string;
	md5?: string;
	byteLength?: number;
	/** `LLaMA-13B (Hugging Face), shard 2 of 3` */
	name: string;
	/** the model or repository the file is of: the name without its last part */
	release: string;
	role: KnownRole;
	/** a sentence for whoever uses this file */
	advice?: string;
	/** who published the checksum */
	source: string;
}

/** Sums of one file of a release. */
export type KnownSums = Pick<KnownFile, "sha256" | "md5" | "byteLength"> &
	Pick<KnownFile, "advice">;

/** The files of one release that have the same role, by their label. */
export interface KnownRelease
	extends Pick<KnownFile, "release" | "role" | "advice" | "source"> {
	files: Readonly<Record<string, KnownSums>>;
}

/** Labels `shard 1 of n` for a release all of whose shards are known. */
export function shardsBy(
	algorithm: "sha256" | "md5",
	sums: readonly string[],
): Record<string, KnownSums> {
	return Object.fromEntries(
		sums.map((sum, i) => [
			`shard ${i + 1} of ${sums.length}`,
			{ [algorithm]: sum },
		]),
	);
}
