import path from "node:path";
import { NetworkError, UsageError } from "../errors.ts";
import { RepositoryCache } from "./cache.ts";
import { type DownloadOptions, downloadFiles } from "./download.ts";
import { describeSubject } from "./refusal.ts";
import {
	DEFAULT_REVISION,
	listRemoteFiles,
	parseRepository,
	type Repository,
	resolveCommit,
} from "./repository.ts";
import {
	type HubOptions,
	type HubSettings,
	readHubSettings,
} from "./settings.ts";

export interface FetchRepositoryOptions extends HubOptions, DownloadOptions {
	/** of all paths in the repository, those that are wanted */
	choose(paths: readonly string[]): readonly string[];
}

/** A file of a repository, in the cache. */
export interface FetchedFile {
	/** in the repository */
	path: string;
	/** null where only the cache was asked */
	byteLength: number | null;
	/** as the Hub tells it, and as it was checked; null for small files and where only the cache was asked */
	sha256: string | null;
	/** nothing had to be fetched */
	wasCached: boolean;
}

/** A repository at one commit, in the cache. */
export interface FetchedRepository {
	repository: string;
	commit: string;
	/** its snapshot: a folder with the files under their paths */
	folder: string;
	files: FetchedFile[];
}

/**
 * Bring what is wanted of a repository into the cache that is shared with the Python client; what is there already
 * is not fetched again. Offline, take what the cache holds.
 *
 * @param repo  `org/name` or `org/name@revision`
 * @throws {UsageError} where there is no such repository or revision
 * @throws {NetworkError} @throws {VerificationError} @throws {LocalIoError} @throws {InterruptedError}
 */
export async function fetchRepository(
	repo: string,
	{ choose, signal, onProgress, ...options }: FetchRepositoryOptions,
): Promise<FetchedRepository> {
	const repository = parseRepository(repo);
	if (repository === null)
		throw new UsageError({
			where: repo,
			what: "not the name of a repository",
			expected: "org/name or org/name@revision",
		});
	const settings = await readHubSettings(options);
	const cache = new RepositoryCache(settings.cacheDir, repository.name);
	if (settings.offline) return takeCached(repository, cache, choose);
	return bring(settings, repository, cache, { choose, signal, onProgress });
}

async function bring(
	settings: HubSettings,
	repository: Repository,
	cache: RepositoryCache,
	{ choose, ...options }: FetchRepositoryOptions,
): Promise<FetchedRepository> {
	const { name, revision } = repository;
	const commit = await resolveCommit(settings, repository, options.signal);
	const all = await listRemoteFiles(
		...([settings, name, commit, options.signal] as const),
	);
	const wanted = new Set(choose(all.map((file) => file.path)));
	const files = all.filter((file) => wanted.has(file.path));
	if (files.length === 0)
		throw new UsageError({
			where: describeSubject({ repository: name, revision: commit }),
			what: "the repository holds no weights that can be read",
			remedy: "Name the safetensors or torch model it was made from",
		});
	const cached = await downloadFiles(settings, files, options);
	await cache.writeRevision(revision ?? DEFAULT_REVISION, commit);
	return {
		...{ repository: name, commit, folder: cache.snapshot(commit) },
		files: files.map(({ path, byteLength, oid, isLfs }) => ({
			...{ path, byteLength, sha256: isLfs ? oid : null },
			wasCached: cached.has(path),
		})),
	};
}

/** @throws {NetworkError} where the cache does not hold it */
async function takeCached(
	{ name, revision }: Repository,
	cache: RepositoryCache,
	choose: FetchRepositoryOptions["choose"],
): Promise<FetchedRepository> {
	const commit = await cache.readRevision(revision ?? DEFAULT_REVISION);
	const paths = commit === null ? [] : choose(await cache.listSnapshot(commit));
	if (commit === null || paths.length === 0)
		throw new NetworkError({
			where: describeSubject({ repository: name, revision }),
			what: `not in the cache ${path.dirname(cache.folder)}, and the network is not to be used`,
			remedy: "Fetch it once without --offline and HF_HUB_OFFLINE",
		});
	return {
		...{ repository: name, commit, folder: cache.snapshot(commit) },
		files: paths.map((file) => ({
			...{ path: file, byteLength: null, sha256: null, wasCached: true },
		})),
	};
}
