import { FormatError } from "../errors.ts";
import type { Checkpoint, CheckpointTensor, OpenShard } from "./checkpoint.ts";
import { findShards, type ShardListing } from "./find-shards.ts";
import {
	findLocalModel,
	type ModelFolder,
	type ModelPlace,
} from "./model-folder.ts";
import { readShard } from "./read-shard.ts";
import { findSideFiles, readAddedTokens } from "./side-files.ts";

/**
 * Open a model of this machine: a folder with a shard index, a folder with one weight file, or a bare weight
 * file. Reads headers only. Must be closed.
 *
 * @throws {UsageError} where nothing is there
 * @throws {FormatError} where a header, the index, or what one says of the other is wrong
 * @throws {LocalIoError}
 */
export async function openCheckpoint(location: string): Promise<Checkpoint> {
	return openModel(await findLocalModel(location));
}

/** The same for a model that is found already, wherever it is. */
export async function openModel(model: ModelPlace): Promise<Checkpoint> {
	const { location, folder } = model;
	const listing = await findShards(model);
	const sideFiles = model.fileName === null ? await findSideFiles(folder) : [];
	const shards = await openShards(folder, listing.fileNames);
	const close = async () => {
		for (const shard of shards) await shard.source.close();
	};
	try {
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

/** All at once, because each may be far away; what is wrong is told of the first. */
async function openShards(
	folder: ModelFolder,
	fileNames: readonly string[],
): Promise<OpenShard[]> {
	const opened = await Promise.allSettled(
		fileNames.map((fileName) => openShard(folder, fileName)),
	);
	const failed = opened.find(({ status }) => status === "rejected");
	const shards = opened.flatMap((each) =>
		each.status === "fulfilled" ? [each.value] : [],
	);
	if (failed === undefined) return shards;
	for (const { source } of shards) await source.close();
	throw (failed as PromiseRejectedResult).reason;
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
