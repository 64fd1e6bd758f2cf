import { KNOWN_BASES } from "./known-bases.ts";
import { KNOWN_DELTAS } from "./known-deltas.ts";
import { KNOWN_MERGED } from "./known-merged.ts";
import type { KnownFile, KnownSums } from "./known-release.ts";

/** Every checksum of the LLaMA family that was found published, one row a file. */
export const KNOWN_FILES: readonly KnownFile[] = [
	...KNOWN_BASES,
	...KNOWN_DELTAS,
	...KNOWN_MERGED,
].flatMap(({ files, ...release }) =>
	Object.entries(files).map(([label, sums]) => ({
		...release,
		name: `${release.release}, ${label}`,
		...sums,
	})),
);

/**
 * Say which known file has these sums. Every value given must agree with the row as far as it has one;
 * a length alone recognises nothing.
 *
 * @returns null where no known file has them
 */
export function recogniseFile(
	sums: Omit<KnownSums, "advice">,
	rows: readonly KnownFile[] = KNOWN_FILES,
): KnownFile | null {
	const sha256 = sums.sha256?.toLowerCase();
	const md5 = sums.md5?.toLowerCase();
	const { byteLength } = sums;
	const agrees = <T>(given: T | undefined, known: T | undefined) =>
		given === undefined || known === undefined || given === known;
	return (
		rows.find(
			(row) =>
				((sha256 !== undefined && row.sha256 === sha256) ||
					(md5 !== undefined && row.md5 === md5)) &&
				agrees(sha256, row.sha256) &&
				agrees(md5, row.md5) &&
				agrees(byteLength, row.byteLength),
		) ?? null
	);
}
