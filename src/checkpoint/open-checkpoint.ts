import path from "node:path";
import { FormatError } from "../errors.ts";
import {
	HEADER_LENGTH_BYTES,
	type Header,
	parseHeader,
	parseHeaderLength,
} from "../format/safetensors.ts";
import { parseRecognising } from "../format/signature.ts";
import type { ByteSource } from "../io/byte-source.ts";
import { openFileSource } from "../io/file-source.ts";
import type { Checkpoint, CheckpointTensor, OpenShard } from "./checkpoint.ts";
import { findShards, type ShardListing } from "./find-shards.ts";
import { findSideFiles } from "./side-files.ts";

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
	const shards: OpenShard[] = [];
	const close = async () => {
		for (const shard of shards) await shard.source.close();
	};
	try {
		for (const fileName of listing.fileNames)
			shards.push(await openShard(listing.folder, fileName));
		const tensors = collectTensors(shards, listing);
		return {
			location,
			shards,
			tensors,
			sideFiles: listing.isFolder ? await findSideFiles(listing.folder) : [],
			warnings: [
				...listing.warnings,
				...shards.flatMap((shard) => shard.header.warnings),
				...totalSizeWarnings(tensors, listing),
			],
			openSideFile: (fileName) =>
				openFileSource(path.join(listing.folder, fileName)),
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

async function openShard(folder: string, fileName: string): Promise<OpenShard> {
	const file = path.join(folder, fileName);
	const source = await openFileSource(file);
	try {
		const header = await readHeader(source, file);
		return { fileName, byteLength: source.byteLength, source, header };
	} catch (error) {
		await source.close();
		throw error;
	}
}

/**
 * Read and parse the header of a safetensors file.
 *
 * @param where  the file, for messages
 */
export async function readHeader(
	source: ByteSource,
	where: string,
): Promise<Header> {
	const start = new Uint8Array(Math.min(64, source.byteLength));
	await source.read(0, start);
	const recognising = <T>(parse: () => T) =>
		parseRecognising(start, where, "a safetensors file", parse);
	const first = start.subarray(0, HEADER_LENGTH_BYTES);
	const jsonLength = recognising(() =>
		parseHeaderLength(first, source.byteLength, where),
	);
	const bytes = new Uint8Array(HEADER_LENGTH_BYTES + jsonLength);
	await source.read(0, bytes);
	return recognising(() => parseHeader(bytes, source.byteLength, where));
}

/** All tensors by name, checked against the index where there is one: each in the shard it is said to be in. */
function collectTensors(
	shards: readonly OpenShard[],
	{ index }: ShardListing,
): Map<string, CheckpointTensor> {
	const tensors = new Map<string, CheckpointTensor>();
	for (const [shardIndex, { fileName, source, header }] of shards.entries())
		for (const { name, dtype, shape, dataOffsets } of header.tensors) {
			if (index !== null && index.weightMap.get(name) !== fileName)
				throw unexpectedTensor(name, source.path, index);
			tensors.set(name, {
				name,
				dtype,
				shape,
				shardIndex,
				fileOffset: header.byteLength + dataOffsets[0],
				byteLength: dataOffsets[1] - dataOffsets[0],
			});
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
	let total = 0;
	for (const tensor of tensors.values()) total += tensor.byteLength;
	return total === index.totalSize
		? []
		: [
				`${index.path}: total_size says ${index.totalSize} bytes, the tensors have ${total}`,
			];
}
