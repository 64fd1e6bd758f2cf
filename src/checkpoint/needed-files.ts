import { FORMATS, weightsOf } from "./find-shards.ts";
import { SIDE_FILE_NAMES, sideFileKind } from "./side-files.ts";

/** What transformers looks for in a model's folder, whether it is there or not. */
export const SOUGHT_FILES: readonly string[] = [
	...FORMATS.flatMap(({ indexName, singleName }) => [indexName, singleName]),
	...SIDE_FILE_NAMES,
];

/** Folders of encoded files, and such files beside each other (`BYTE_SCHEMES`). */
const ENCODED_FOLDER = /^([^/]*-xor|xor_encoded_files)\/[^/]+$/;
const ENCODED_FILE = /^[^/]+\.enc$/;
const NUMBERED = /-\d+-of-\d+\.[a-z]+$/;

/**
 * Of all files of a repository, those that a merge may read: the weights of one format, the preferred one, with
 * their index, and the config and tokenizer files; or encoded files. None where there are no weights.
 *
 * @param paths  with `/`; weights count where they lie at the top
 */
export function neededFiles(paths: readonly string[]): string[] {
	const top = paths.filter((path) => !path.includes("/"));
	const weights = neededWeights(top);
	const encoded = paths.filter(
		(path) => ENCODED_FOLDER.test(path) || ENCODED_FILE.test(path),
	);
	// Encoded weights may bear the names of weights, or stand beside parts that are not encoded.
	const chosen = encoded.length > 0 ? [...encoded, ...weights] : weights;
	if (chosen.length === 0) return [];
	const sideFiles = top.filter((path) => sideFileKind(path) !== null);
	return [...new Set([...sideFiles, ...chosen])];
}

/** Those of the files that hold no weights but belong to a model: index, config, tokenizer. */
export function filesBesideWeights(paths: readonly string[]): string[] {
	const indexNames: string[] = FORMATS.map(({ indexName }) => indexName);
	return paths.filter(
		(path) => sideFileKind(path) !== null || indexNames.includes(path),
	);
}

function neededWeights(top: readonly string[]): string[] {
	for (const format of FORMATS) {
		const weights = weightsOf(top, format);
		if (weights.length === 0) continue;
		const numbered = weights.filter((name) => NUMBERED.test(name));
		if (top.includes(format.indexName))
			// What an index names is numbered; the same weights may lie beside it in one file.
			return [format.indexName, ...(numbered.length > 0 ? numbered : weights)];
		return weights.includes(format.singleName) ? [format.singleName] : weights;
	}
	return [];
}
