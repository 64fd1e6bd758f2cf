import path from "node:path";
import { FormatError } from "../errors.ts";
import { followLinks, listFolder } from "../io/local-path.ts";
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
export async function findSideFiles(folder: string): Promise<SideFile[]> {
	const files = sideFilesAmong(await listFolder(folder));
	await refuseLinksOut(
		folder,
		files.map(({ fileName }) => fileName),
	);
	return files;
}

/** The config and tokenizer files among names, sorted. */
export function sideFilesAmong(names: readonly string[]): SideFile[] {
	return [...names].sort().flatMap((fileName) => {
		const kind = sideFileKind(fileName);
		return kind === null ? [] : [{ fileName, kind }];
	});
}

/**
 * Make sure that no file is a symbolic link to somewhere else: its target would be published.
 *
 * @param within  the folder they may link into; default: the one they lie in
 * @throws {FormatError}
 */
export async function refuseLinksOut(
	folder: string,
	fileNames: readonly string[],
	within: string = folder,
): Promise<void> {
	const roots = await allowedRoots(within);
	for (const fileName of fileNames) {
		const file = path.join(folder, fileName);
		const target = await followLinks(file);
		if (!roots.some((root) => target.startsWith(root + path.sep)))
			throw new FormatError({
				where: file,
				what: "a symbolic link out of the model's folder",
				found: target,
				remedy:
					"It would be copied into the output: replace the link by the file itself",
			});
	}
}

/**
 * A snapshot in a Hub cache links into the `blobs` folder of its own repository, which may link on into that of
 * the whole cache.
 */
async function allowedRoots(folder: string): Promise<string[]> {
	const real = await followLinks(folder);
	const parent = path.dirname(real);
	if (path.basename(parent) !== "snapshots") return [real];
	const repository = path.dirname(parent);
	const holders = path.basename(repository).startsWith("models--")
		? [repository, path.dirname(repository)]
		: [repository];
	return [real, ...holders.map((holder) => path.join(holder, "blobs"))];
}

const ADDED_TOKENS_FILE = "added_tokens.json";
/** Longer than any real one; what is longer is not looked into. */
const MAX_ADDED_TOKENS_BYTES = 2 ** 20;

/** The tokens a tokenizer was given beyond its model's; none where the file is not there or tells none. */
export async function readAddedTokens(
	folder: ModelFolder,
	files: readonly SideFile[],
): Promise<string[]> {
	if (!files.some(({ fileName }) => fileName === ADDED_TOKENS_FILE)) return [];
	const source = await folder.open(ADDED_TOKENS_FILE);
	try {
		if (source.byteLength > MAX_ADDED_TOKENS_BYTES) return [];
		const bytes = new Uint8Array(source.byteLength);
		await source.read(0, bytes);
		const tokens: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
		return tokens instanceof Object ? Object.keys(tokens) : [];
	} catch (error) {
		if (error instanceof SyntaxError) return [];
		throw error;
	} finally {
		await source.close();
	}
}
