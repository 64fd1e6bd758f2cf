import { FormatError } from "../errors.ts";
import {
	INDEX_FILE_NAME,
	MAX_INDEX_BYTES,
	parseShardIndex,
	type ShardIndex,
	TORCH_INDEX_FILE_NAME,
} from "../format/shard-index.ts";
import { sortShardNames } from "../format/shard-name.ts";
import { parseRecognising } from "../format/signature.ts";
import { readAll } from "../io/read-whole.ts";
import type { ModelFolder, ModelPlace } from "./model-folder.ts";

/** The formats that can be read, the preferred one first: how their files are named in a model's folder. */
export const FORMATS = [
	{
		files: "safetensors files",
		indexName: INDEX_FILE_NAME,
		singleName: "model.safetensors",
		weights: /\.safetensors$/,
	},
	{
		files: "torch files",
		indexName: TORCH_INDEX_FILE_NAME,
		singleName: "pytorch_model.bin",
		weights: /\.(bin|pth|pt)$/,
	},
] as const;
type Format = (typeof FORMATS)[number];

/** What trainers put beside the weights under the same suffixes. */
const TRAINER_STATE =
	/^(training_args|optimizer|scheduler|scaler|rng_state(_\d+)?)\.(bin|pth|pt)$/;
const UNREADABLE = /\.(ckpt|gguf|ggml|h5|msgpack|onnx|npz)$/i;

/** Which files of a model are its shards, before any is opened. */
export interface ShardListing {
	/** as their numbers count */
	fileNames: readonly string[];
	/** the index and its file, where the folder has one */
	index: (ShardIndex & { path: string }) | null;
	warnings: string[];
}

/**
 * Find the shards of a folder with an index, of a folder with one weight file, or of a bare weight file.
 *
 * @throws {FormatError} where the folder holds no weights that can be read, or it is unclear which
 */
export async function findShards({
	folder: files,
	fileName,
}: ModelPlace): Promise<ShardListing> {
	const listing: ShardListing = { fileNames: [], index: null, warnings: [] };
	if (fileName !== null) return { ...listing, fileNames: [fileName] };
	const { fileNames, folderNames } = await files.list();
	const names = [...fileNames, ...folderNames].sort();
	const { location: folder } = files;
	const format = FORMATS.find(
		(candidate) =>
			names.includes(candidate.indexName) ||
			weightsOf(names, candidate).length > 0,
	);
	const unread = unreadWeights(names, format);
	if (format === undefined) throw noWeights(folder, unread);
	const weights = weightsOf(names, format);
	if (weights.length > 0 && unread.length > 0)
		listing.warnings.push(
			`${folder}: weights in two formats; the ${format.files} are read, not ${abbreviate(unread)}`,
		);
	if (names.includes(format.indexName))
		return readIndex(listing, format, files);
	if (weights.length > 1 && !weights.includes(format.singleName))
		throw new FormatError({
			where: folder,
			what: `${weights.length} weight files and no ${format.indexName}`,
			found: abbreviate(weights),
			remedy: "Get the index too, or name one of the files",
		});
	const only = weights.length === 1 ? weights[0] : format.singleName;
	return { ...listing, fileNames: [only as string] };
}

/** The weight files of a format among the names of a folder. */
export function weightsOf(
	names: readonly string[],
	{ weights }: Format,
): string[] {
	return names.filter(
		(name) => weights.test(name) && !TRAINER_STATE.test(name),
	);
}

/** Weights of other formats than the one that is read. */
function unreadWeights(
	names: readonly string[],
	format: Format | undefined,
): string[] {
	const others = FORMATS.filter((other) => other !== format);
	const readable = others.flatMap((other) => weightsOf(names, other));
	return names.filter(
		(name) => readable.includes(name) || UNREADABLE.test(name),
	);
}

async function readIndex(
	listing: ShardListing,
	{ indexName }: Format,
	files: ModelFolder,
): Promise<ShardListing> {
	const source = await files.open(indexName);
	const { path: file } = source;
	try {
		const bytes = await readAll(source, MAX_INDEX_BYTES, "index");
		const index = parseRecognising(bytes, file, "a shard index", () =>
			parseShardIndex(bytes, file),
		);
		const fileNames = sortShardNames(new Set(index.weightMap.values()));
		await checkAllPresent(files, fileNames, file);
		return {
			...listing,
			fileNames,
			index: { ...index, path: file },
			warnings: [...listing.warnings, ...numberingWarnings(fileNames, file)],
		};
	} finally {
		await source.close();
	}
}

async function checkAllPresent(
	files: ModelFolder,
	fileNames: readonly string[],
	indexFile: string,
): Promise<void> {
	const missing: string[] = [];
	for (const name of fileNames)
		if (!(await files.has(name))) missing.push(name);
	if (missing.length > 0)
		throw new FormatError({
			where: indexFile,
			what: `${missing.length} of ${fileNames.length} shards are missing`,
			found: abbreviate(missing),
			remedy: "Download them into the same folder",
			details: missing,
		});
}

function numberingWarnings(
	fileNames: readonly string[],
	indexFile: string,
): string[] {
	const said = /-of-(\d+)\.[a-z]+$/.exec(fileNames[0] ?? "")?.[1];
	return said === undefined || Number(said) === fileNames.length
		? []
		: [
				`${indexFile}: the names say ${Number(said)} shards, the index uses ${fileNames.length}`,
			];
}

function noWeights(folder: string, unreadable: readonly string[]): FormatError {
	return unreadable.length > 0
		? new FormatError({
				where: folder,
				what: "no weights that can be read",
				found: abbreviate(unreadable),
				remedy: "Name the safetensors or torch model it was made from",
			})
		: new FormatError({
				where: folder,
				what: "no weight file",
				expected: `${INDEX_FILE_NAME}, ${TORCH_INDEX_FILE_NAME} or one weight file`,
				remedy: "Name the folder that holds the weights",
			});
}

function abbreviate(names: readonly string[]): string {
	const shown = names.slice(0, 3).join(", ");
	return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown;
}
