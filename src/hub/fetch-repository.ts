import { NetworkError, UsageError } from "../errors.ts";
import { RepositoryCache } from "./cache.ts";
import { type DownloadOptions, downloadFiles } from "./download.ts";
import { HubRepository } from "./hub-repository.ts";
import { describeSubject } from "./refusal.ts";
import {
	DEFAULT_REVISION,
	parseRepository,
	type Repository,
} from "./repository.ts";
import {
	type HubOptions,
	type HubSettings,
	readHubSettings,
} from "./settings.ts";

export interface FetchRepositoryOptions extends HubOptions, DownloadOptions {
	/** of all paths in the repository, those that are wanted */
	choose(paths: readonly string[]): readonly string[];
	/** paths that other readers of a model ask for: which of them are not there is noted for those */
	sought?: readonly string[] | undefined;
}

/** A file of a repository, in the cache. */
export interface FetchedFile {
	/** in the repository */
	path: string;
	byteLength: number;
	/** of what is in LFS, as all weights are: by it the file was checked when it was fetched; else null */
	sha256: string | null;
	/** nothing had to be fetched */
	wasCached: boolean;
}

/** A repository at one commit, in the cache. */
export interface FetchedRepository {
	repository: string;
	/** 40 hex digits */
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
	{
		choose,
		sought = [],
		signal,
		onProgress,
		...options
	}: FetchRepositoryOptions,
): Promise<FetchedRepository> {
	const repository = parse(repo);
	const settings = await readHubSettings(options);
	if (settings.offline) return takeCached(settings, repository, choose);
	const found = await HubRepository.open(settings, repository, signal);
	const wanted = new Set(choose([...found.files.keys()]));
	const files = [...found.files.values()].filter(({ path }) =>
		wanted.has(path),
	);
	if (files.length === 0)
		throw new UsageError({
			where: found.location,
			what: "the repository holds no weights that can be read",
			remedy: "Name the safetensors or torch model it was made from",
		});
	const cached = await downloadFiles(settings, files, { signal, onProgress });
	await found.noteRevision(sought);
	return {
		...{ repository: found.name, commit: found.commit },
		folder: found.snapshot,
		files: files.map((file) => ({
			...{ path: file.path, byteLength: file.byteLength },
			sha256: file.isLfs ? file.oid : null,
			wasCached: cached.has(file),
		})),
	};
}

function parse(repo: string): Repository {
	const repository = parseRepository(repo);
	if (repository === null)
		throw new UsageError({
			where: repo,
			what: "not the name of a repository",
			expected: "org/name or org/name@revision",
		});
	return repository;
}

/**
 * What the cache holds of a repository.
 *
 * @throws {NetworkError} where that is nothing
 */
export async function takeCached(
	settings: HubSettings,
	{ name, revision }: Repository,
	choose: FetchRepositoryOptions["choose"],
): Promise<FetchedRepository> {
	const { cacheDir } = settings;
	const cache = new RepositoryCache(settings, name);
	const commit = await cache.readRevision(revision ?? DEFAULT_REVISION);
	const all = commit === null ? [] : await cache.listSnapshot(commit);
	const wanted = new Set(choose(all.map((file) => file.path)));
	if (commit === null || wanted.size === 0)
		throw new NetworkError({
			where: describeSubject({ repository: name, revision }),
			what: `not in the cache ${cacheDir}, and the network is not to be used`,
			remedy: "Fetch it once without --offline and HF_HUB_OFFLINE",
		});
	return {
		...{ repository: name, commit, folder: cache.snapshot(commit) },
		files: all
			.filter((file) => wanted.has(file.path))
			.map(({ oid, ...file }) => ({
				...{ ...file, wasCached: true },
				sha256: oid?.length === 64 ? oid : null,
			})),
	};
}
