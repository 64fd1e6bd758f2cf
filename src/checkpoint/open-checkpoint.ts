import { FormatError } from "../errors.ts";
import type { Checkpoint, CheckpointTensor, OpenShard } from "./checkpoint.ts";
import { findShards, listShards, type ShardListing } from "./find-shards.ts";
import { localFolder, type ModelFolder } from "./model-folder.ts";
import { readShard } from "./read-shard.ts";
import {
	findSideFiles,
	readAddedTokens,
	type SideFile,
	sideFilesAmong,
} from "./side-files.ts";

/**
 * Open a model: a folder with a shard index, a folder with one weight file, or a bare weight file.
 * Reads headers only. Must be closed.
 *
 * @throws {UsageError} where nothing is there
 * @throws {FormatError} where a header, the index, or what one says of the other is wrong
 * @throws {LocalIoError}
 */
export async function openCheckpoint(location: string): Promise<Checkpoint> {
	const listing = await findShards(location);
	const sideFiles = listing.isFolder ? await findSideFiles(listing.folder) : [];
	return openListed(location, listing, localFolder(listing.folder), sideFiles);
}

/** The same for a folder that is elsewhere. */
export async function openFolder(folder: ModelFolder): Promise<Checkpoint> {
	const listing = await listShards(folder);
	const sideFiles = sideFilesAmong(await folder.list());
	return openListed(folder.location, listing, folder, sideFiles);
}

async function openListed(
	location: string,
	listing: ShardListing,
	folder: ModelFolder,
	sideFiles: readonly SideFile[],
): Promise<Checkpoint> {
	const shards: OpenShard[] = [];
	const close = async () => {
		for (const shard of shards) await shard.source.close();
	};
	try {
		for (const fileName of listing.fileNames)
			shards.push(await openShard(folder, fileName));
		const tensors = collectTensors(shards, listing);
		return {
			location,
			shards,
			tensors,
			sideFiles,
			addedTokens: await readAddedTokens(folder, sideFiles),
			warnings: [
				...listing.warnings,
				...shards.flatMap((shard) => shard.warnings),
				...totalSizeWarnings(tensors, listing),
			],
			openSideFile: (fileName) => folder.open(fileName),
			close,
		};
	} catch (error) {
		await close();
		throw error;
	}
}

/**
 * Open two models, and let `use` work with them while they are open.
 *
 * @throws as {@link openCheckpoint} and `use` do
 */
export async function withCheckpoints<T>(
	locations: readonly [string, string],
	use: (first: Checkpoint, second: Checkpoint) => Promise<T>,
): Promise<T> {
	const first = await openCheckpoint(locations[0]);
	try {
		const second = await openCheckpoint(locations[1]);
		try {
			return await use(first, second);
		} finally {
			await second.close();
		}
	} finally {
		await first.close();
	}
}

async function openShard(
	folder: ModelFolder,
	fileName: string,
): Promise<OpenShard> {
	const file = await folder.open(fileName);
	try {
		const content = await readShard(file);
		return { fileName, byteLength: file.byteLength, ...content };
	} catch (error) {
		await file.close();
		throw error;
	}
}

/** All tensors by name, checked against the index where there is one: each in the shard it is said to be in. */
function collectTensors(
	shards: readonly OpenShard[],
	{ index }: ShardListing,
): Map<string, CheckpointTensor> {
	const tensors = new Map<string, CheckpointTensor>();
	for (const [shardIndex, shard] of shards.entries())
		for (const tensor of shard.tensors) {
			const { name } = tensor;
			if (index !== null && index.weightMap.get(name) !== shard.fileName)
				throw unexpectedTensor(name, shard.source.path, index);
			tensors.set(name, { ...tensor, shardIndex });
		}
	for (const [name, fileName] of index?.weightMap ?? [])
		if (!tensors.has(name))
			throw new FormatError({
				where: index?.path ?? "",
				what: `tensor ${JSON.stringify(name)} is not in its shard ${fileName}`,
				remedy: "Index and shards are not of one model: get all of them again",
			});
	return tensors;
}

function unexpectedTensor(
	name: string,
	file: string,
	index: NonNullable<ShardListing["index"]>,
): FormatError {
	const said = index.weightMap.get(name);
	return new FormatError({
		where: file,
		what:
			said === undefined
				? `tensor ${JSON.stringify(name)} is not in the index`
				: `tensor ${JSON.stringify(name)} belongs to another shard`,
		...(said === undefined ? {} : { expected: `it in ${said} alone` }),
		remedy: "Index and shards are not of one model: get all of them again",
	});
}

function totalSizeWarnings(
	tensors: ReadonlyMap<string, CheckpointTensor>,
	{ index }: ShardListing,
): string[] {
	if (index === null || index.totalSize === null) return [];
	let [total, untied] = [0, 0];
	for (const { byteLength, tiedTo } of tensors.values()) {
		total += byteLength;
		if (tiedTo === undefined) untied += byteLength;
	}
	// transformers has counted tied tensors once and, at other times, each.
	return [total, untied].includes(index.totalSize)
		? []
		: [
				`${index.path}: total_size says ${index.totalSize} bytes, the tensors have ${total}`,
			];
}
