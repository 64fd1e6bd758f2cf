import { readdir, readFile, stat } from "node:fs/promises";
import path from "node:path";
import { systemErrorCode, toLocalIoError } from "../io/system-error.ts";
import { RepositoryCache, type SnapshotFile } from "./cache.ts";
import { COMMIT, OID } from "./repository.ts";
import type { HubSettings } from "./settings.ts";

/** What a cache holds of one repository. */
export interface CachedRepository {
	/** `org/name`; a few old ones have a name alone */
	repository: string;
	folder: string;
	snapshots: CachedSnapshot[];
	/** each content once, whatever snapshots it is in */
	blobs: CachedBlob[];
	/** downloads that were not finished, of this program or another */
	incomplete: { fileName: string; byteLength: number }[];
	/** of blobs, of files that lie in snapshots themselves, and of what is incomplete */
	byteLength: number;
}

export interface CachedSnapshot {
	/** 40 hex digits */
	commit: string;
	/** branches and tags that were this commit when they were last fetched */
	revisions: string[];
	files: SnapshotFile[];
	/** paths that lead to no blob */
	broken: string[];
	byteLength: number;
}

export interface CachedBlob {
	/** its name and checksum: SHA-256, or the SHA-1 of a git blob */
	oid: string;
	file: string;
	byteLength: number;
	/** where snapshots have it; none where no snapshot does */
	paths: string[];
}

const FOLDER = /^models--(.+)$/;

/**
 * List the models that a cache holds, by name. Opens no socket.
 *
 * @throws {LocalIoError}
 */
export async function listCache(
	settings: Pick<HubSettings, "cacheDir" | "symlinks">,
): Promise<CachedRepository[]> {
	const names = (await entriesOf(settings.cacheDir)).sort();
	const found: CachedRepository[] = [];
	for (const name of names) {
		const [, repository] = FOLDER.exec(name) ?? [];
		if (repository !== undefined)
			found.push(await describe(settings, repository.replace("--", "/")));
	}
	return found;
}

async function describe(
	settings: Pick<HubSettings, "cacheDir" | "symlinks">,
	repository: string,
): Promise<CachedRepository> {
	const cache = new RepositoryCache(settings, repository);
	const refs = await readRefs(path.join(cache.folder, "refs"));
	const snapshots: CachedSnapshot[] = [];
	for (const commit of await entriesOf(path.join(cache.folder, "snapshots")))
		if (COMMIT.test(commit)) {
			const { files, broken } = await cache.lookIntoSnapshot(commit);
			const revisions = refs
				.filter((ref) => ref.commit === commit)
				.map((ref) => ref.revision);
			const byteLength = sum(files);
			snapshots.push({ commit, revisions, files, broken, byteLength });
		}
	const paths = new Map<string, Set<string>>();
	for (const { path: file, oid } of snapshots.flatMap(({ files }) => files))
		if (oid !== null) paths.set(oid, (paths.get(oid) ?? new Set()).add(file));
	const blobs: CachedBlob[] = [];
	const incomplete: CachedRepository["incomplete"] = [];
	for (const fileName of (await entriesOf(cache.blobs)).sort()) {
		const file = path.join(cache.blobs, fileName);
		const stats = await stat(file).catch(() => null);
		if (!stats?.isFile()) continue;
		const { size: byteLength } = stats;
		if (OID.test(fileName))
			blobs.push({
				...{ oid: fileName, file, byteLength },
				paths: [...(paths.get(fileName) ?? [])],
			});
		else if (fileName.endsWith(".incomplete"))
			incomplete.push({ fileName, byteLength });
	}
	const loose = snapshots.flatMap(({ files }) =>
		files.filter(({ oid }) => oid === null),
	);
	return {
		...{ repository, folder: cache.folder, snapshots, blobs, incomplete },
		byteLength: sum(blobs) + sum(loose) + sum(incomplete),
	};
}

/** Nested ones (`refs/pr/1`) under their whole name. */
async function readRefs(
	folder: string,
): Promise<{ revision: string; commit: string }[]> {
	const refs = [];
	for (const name of (await entriesOf(folder, true)).sort()) {
		const text = await readFile(path.join(folder, name), "utf8").catch(
			() => "", // a folder
		);
		const revision = name.split(path.sep).join("/");
		if (COMMIT.test(text.trim())) refs.push({ revision, commit: text.trim() });
	}
	return refs;
}

async function entriesOf(folder: string, recursive = false): Promise<string[]> {
	return readdir(folder, { recursive }).catch((error) => {
		if (["ENOENT", "ENOTDIR"].includes(systemErrorCode(error) ?? "")) return [];
		throw toLocalIoError(error, folder, "listing");
	});
}

function sum(files: readonly { byteLength: number }[]): number {
	return files.reduce((total, { byteLength }) => total + byteLength, 0);
}
