import { NetworkError, UsageError } from "../errors.ts";
import { RepositoryCache } from "./cache.ts";
import { type DownloadOptions, downloadFiles } from "./download.ts";
import { describeSubject } from "./refusal.ts";
import {
	DEFAULT_REVISION,
	listRemoteFiles,
	parseRepository,
	type RemoteFile,
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
	options: FetchRepositoryOptions,
): Promise<FetchedRepository> {
	const [fetched] = await fetchRepositories([repo], options);
	return fetched as FetchedRepository;
}

/** The same for several, side by side: what is wrong with one is told before much of another was fetched. */
export async function fetchRepositories(
	repos: readonly string[],
	{
		choose,
		sought = [],
		signal,
		onProgress,
		...options
	}: FetchRepositoryOptions,
): Promise<FetchedRepository[]> {
	const repositories = repos.map(parse);
	const settings = await readHubSettings(options);
	if (settings.offline) {
		const taken: FetchedRepository[] = [];
		for (const repository of repositories)
			taken.push(await takeCached(settings, repository, choose));
		return taken;
	}
	const found: Found[] = [];
	for (const repository of repositories)
		found.push(await find(settings, repository, choose, signal));
	const cached = await downloadFiles(
		settings,
		found.flatMap(({ files }) => files),
		{ signal, onProgress },
	);
	return Promise.all(
		found.map((each) => finish(settings, each, cached, sought)),
	);
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

interface Found extends Repository {
	commit: string;
	/** all that it has */
	paths: ReadonlySet<string>;
	/** those that are wanted */
	files: RemoteFile[];
}

async function find(
	settings: HubSettings,
	repository: Repository,
	choose: FetchRepositoryOptions["choose"],
	signal: AbortSignal | undefined,
): Promise<Found> {
	const { name } = repository;
	const commit = await resolveCommit(settings, repository, signal);
	const all = await listRemoteFiles(settings, name, commit, signal);
	const paths = new Set(all.map((file) => file.path));
	const wanted = new Set(choose([...paths]));
	const files = all.filter((file) => wanted.has(file.path));
	if (files.length > 0) return { ...repository, commit, paths, files };
	throw new UsageError({
		where: describeSubject({ repository: name, revision: commit }),
		what: "the repository holds no weights that can be read",
		remedy: "Name the safetensors or torch model it was made from",
	});
}

/** Note which commit the revision is, once all of it is there: offline, it is then found whole. */
async function finish(
	settings: HubSettings,
	{ name, revision, commit, paths, files }: Found,
	cached: ReadonlySet<RemoteFile>,
	sought: readonly string[],
): Promise<FetchedRepository> {
	const cache = new RepositoryCache(settings, name);
	const missing = sought.filter((each) => !paths.has(each));
	await cache.writeMissing(commit, missing);
	await cache.writeRevision(revision ?? DEFAULT_REVISION, commit);
	return {
		...{ repository: name, commit, folder: cache.snapshot(commit) },
		files: files.map((file) => ({
			...{ path: file.path, byteLength: file.byteLength },
			sha256: file.isLfs ? file.oid : null,
			wasCached: cached.has(file),
		})),
	};
}

/** @throws {NetworkError} where the cache does not hold it */
async function takeCached(
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
