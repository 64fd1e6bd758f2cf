import { createHash } from "node:crypto";
import path from "node:path";
import type { Checkpoint } from "./checkpoint/checkpoint.ts";
import type { RecognisedFile } from "./delta/judge-known.ts";
import { KNOWN_FILES, recogniseFile } from "./delta/known-files.ts";
import type { KnownFile } from "./delta/known-release.ts";
import { throwIfAborted } from "./errors.ts";
import type { FileSource } from "./io/file-source.ts";
import { followLinks } from "./io/local-path.ts";

const READ_BYTES = 2 ** 22;

/**
 * The known files among a checkpoint's shards. A shard on the Hub, or one that links into its cache, names its own
 * SHA-256; any other is read whole only if it is as long as a known file, and not at all otherwise.
 *
 * @param rows  known files to look among
 */
export async function recogniseShards(
	{ shards }: Checkpoint,
	{
		rows = KNOWN_FILES,
		signal,
	}: { rows?: readonly KnownFile[]; signal?: AbortSignal } = {},
): Promise<RecognisedFile[]> {
	const recognised: RecognisedFile[] = [];
	for (const { source } of shards) {
		const { path: where, byteLength } = source;
		const sha256 =
			(await publishedSum(source)) ??
			(rows.some((row) => row.sha256 && row.byteLength === byteLength)
				? await hash(source, signal)
				: undefined);
		if (sha256 === undefined) continue;
		const file = recogniseFile({ sha256, byteLength }, rows);
		if (file !== null) recognised.push({ where, file });
	}
	return recognised;
}

async function publishedSum(source: FileSource): Promise<string | undefined> {
	const contentId = await identifyContent(source);
	return /^[0-9a-f]{64}$/.test(contentId) ? contentId : undefined;
}

/** What the shards hold, without reading them: equal for those that are the same, by whatever path. */
export function contentsOf({ shards }: Checkpoint): Promise<string[]> {
	return Promise.all(shards.map(({ source }) => identifyContent(source)));
}

/**
 * What two sources of one content have in common, without reading it: where it is or was on the Hub its id, which
 * is the SHA-256 of a large file, the id of a git blob of a small one; else the path without links.
 */
async function identifyContent({
	path: file,
	contentId,
}: FileSource): Promise<string> {
	if (contentId !== undefined) return contentId;
	const target = await followLinks(file);
	const name = path.basename(target);
	const isBlob = path.basename(path.dirname(target)) === "blobs";
	return isBlob && /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(name) ? name : target;
}

async function hash(
	source: FileSource,
	signal: AbortSignal | undefined,
): Promise<string> {
	const digest = createHash("sha256");
	const buffer = new Uint8Array(Math.min(READ_BYTES, source.byteLength));
	for (let at = 0; at < source.byteLength; at += buffer.length) {
		throwIfAborted(signal, source.path);
		const bytes = buffer.subarray(0, source.byteLength - at);
		await source.read(at, bytes);
		digest.update(bytes);
	}
	return digest.digest("hex");
}
