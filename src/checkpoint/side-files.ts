import { parseLooseJson } from "../format/loose-json.ts";
import type { FileSource } from "../io/file-source.ts";
import { readAll } from "../io/read-whole.ts";
import type { ModelFolder } from "./model-folder.ts";

/** Files beside the weights that make a model usable, by the script that would write them. */
const SIDE_FILES = {
	config: ["config.json", "generation_config.json"],
	tokenizer: [
		"tokenizer.json",
		"tokenizer.model",
		"tokenizer_config.json",
		"special_tokens_map.json",
		"added_tokens.json",
		"vocab.json",
		"merges.txt",
		"chat_template.jinja",
		"chat_template.json",
	],
} as const;

export const SIDE_FILE_NAMES: readonly string[] =
	Object.values(SIDE_FILES).flat();

export type SideFileKind = keyof typeof SIDE_FILES;

/** A file of the model that holds no weights. */
export interface SideFile {
	fileName: string;
	kind: SideFileKind;
}

/** What a file of that name is for; null where it is no config or tokenizer file. */
export function sideFileKind(fileName: string): SideFileKind | null {
	for (const kind of ["config", "tokenizer"] as const)
		if ((SIDE_FILES[kind] as readonly string[]).includes(fileName)) return kind;
	return null;
}

/**
 * A folder's config and tokenizer files, sorted by name.
 *
 * @throws {FormatError} for a symbolic link that leaves the folder: its target would be published
 */
export async function findSideFiles(folder: ModelFolder): Promise<SideFile[]> {
	const { fileNames } = await folder.list();
	const files = [...fileNames].sort().flatMap((fileName) => {
		const kind = sideFileKind(fileName);
		return kind === null ? [] : [{ fileName, kind }];
	});
	await folder.refuseLinksOut(files.map(({ fileName }) => fileName));
	return files;
}

const ADDED_TOKENS_FILE = "added_tokens.json";
/** Longer than any real one; what is longer is not looked into. */
/** What is longer says nothing that is looked for. */
const MAX_JSON_BYTES = 2 ** 24;

/** The tokens a tokenizer was given beyond its model's; none where the file is not there or tells none. */
export async function readAddedTokens(
	folder: ModelFolder,
	files: readonly SideFile[],
): Promise<string[]> {
	const open = () => folder.open(ADDED_TOKENS_FILE);
	const tokens = await readSideJson(ADDED_TOKENS_FILE, files, open);
	return tokens instanceof Object ? Object.keys(tokens) : [];
}

/** What one of these files says as JSON; null where it is not there, or is none. */
export async function readSideJson(
	name: string,
	files: readonly SideFile[],
	open: () => Promise<FileSource>,
): Promise<unknown> {
	if (!files.some(({ fileName }) => fileName === name)) return null;
	const source = await open();
	try {
		return source.byteLength > MAX_JSON_BYTES
			? null
			: parseLooseJson(await readAll(source, MAX_JSON_BYTES));
	} finally {
		await source.close();
	}
}
