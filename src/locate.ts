import {
	findLocalModel,
	localFolder,
	type ModelPlace,
} from "./checkpoint/model-folder.ts";
import { neededFiles } from "./checkpoint/needed-files.ts";
import { decideEngineOptions } from "./engine/engine-options.ts";
import type { ReadFile } from "./engine/manifest.ts";
import { preflight } from "./engine/preflight.ts";
import type { PublishOptions } from "./engine/publish.ts";
import { VerificationError } from "./errors.ts";
import type { DownloadProgress } from "./hub/download.ts";
import { takeCached } from "./hub/fetch-repository.ts";
import { HubRepository } from "./hub/hub-repository.ts";
import { type Repository, repositoryAt } from "./hub/repository.ts";
import {
	type HubOptions,
	type HubSettings,
	readHubSettings,
} from "./hub/settings.ts";

/** How models are brought from the Hub, where one is named. */
export interface FetchChoices {
	hub?: HubOptions | undefined;
	onFetch?: ((progress: DownloadProgress) => void) | undefined;
	signal?: AbortSignal | undefined;
}

/** An input that was found, though perhaps not here. Must be closed. */
export interface Located {
	model: ModelPlace;
	/** where it comes from; null for what is no model of the Hub */
	origin: Origin | null;
	/** to fetch from; null where all of it is here */
	repository: HubRepository | null;
	close(): Promise<void>;
}

interface Origin {
	repository: string;
	commit: string;
	/** where the cache holds it, or will */
	folder: string;
	/** those that a merge may read; the SHA-256 of those in LFS */
	files: readonly { path: string; sha256: string | null }[];
}

/**
 * Find inputs: paths are what they are; of repositories of the Hub (`org/name[@revision]`) the commit and its list of
 * files are asked for, and nothing is fetched. A path that exists is never taken for a repository.
 *
 * @throws {UsageError} where nothing is there
 * @throws {NetworkError} @throws {InterruptedError}
 */
export async function locateInputs(
	locations: readonly string[],
	{ hub, signal }: FetchChoices,
): Promise<Located[]> {
	const located: Located[] = [];
	let settings: HubSettings | null = null;
	for (const location of locations) {
		const repository = await repositoryAt(location);
		if (repository !== null) settings ??= await readHubSettings(hub);
		located.push(
			repository === null || settings === null
				? await locateHere(location)
				: await locateOnHub(repository, settings, signal),
		);
	}
	return located;
}

/** Whether any of these is on the Hub. */
export async function anyRemote(
	locations: readonly string[],
): Promise<boolean> {
	const found = await Promise.all(locations.map(repositoryAt));
	return found.some((repository) => repository !== null);
}

async function locateHere(location: string): Promise<Located> {
	const model = await findLocalModel(location);
	return { model, origin: null, repository: null, close: async () => {} };
}

/**
 * Refuse choices and an output that are wrong whatever the inputs are, before gigabytes of those are fetched.
 *
 * @throws {UsageError} @throws {OutputConflictError} @throws {LocalIoError}
 */
export async function checkBeforeFetching(
	locations: readonly string[],
	options: PublishOptions,
): Promise<void> {
	if (!(await anyRemote(locations))) return;
	decideEngineOptions(options);
	const { overwrite = false } = options;
	await preflight(options.out, [], { byteLength: 0, overwrite });
}

async function locateOnHub(
	named: Repository,
	settings: HubSettings,
	signal: AbortSignal | undefined,
): Promise<Located> {
	if (settings.offline) {
		const origin = await takeCached(settings, named, neededFiles);
		const { folder: location } = origin;
		const model = { location, folder: localFolder(location), fileName: null };
		return { model, origin, repository: null, close: async () => {} };
	}
	const repository = await HubRepository.open(settings, named, signal);
	const { location, name, commit, snapshot, files } = repository;
	const needed = new Set(neededFiles([...files.keys()]));
	return {
		model: { location, folder: repository.folder(), fileName: null },
		origin: {
			...{ repository: name, commit, folder: snapshot },
			files: [...files.values()]
				.filter(({ path }) => needed.has(path))
				.map(({ path, oid, isLfs }) => ({ path, sha256: isLfs ? oid : null })),
		},
		repository,
		close: () => repository.close(),
	};
}

/**
 * Say which repository a file came from.
 *
 * @throws {VerificationError} where its bytes are not those that the Hub tells of: the cache may hold what others
 *   put there without looking
 */
export function withOrigin(file: ReadFile, { origin }: Located): ReadFile {
	if (origin === null) return file;
	const { repository, commit, files, folder } = origin;
	const published = files.find(
		({ path }) => path === file.fileName || path.endsWith(`/${file.fileName}`),
	);
	const expected = published?.sha256 ?? null;
	if (expected !== null && file.sha256 !== null && file.sha256 !== expected)
		throw new VerificationError({
			where: `${repository}@${commit}, ${file.fileName}`,
			what: "the cache holds other bytes than were published, so nothing was published here",
			...{ expected, found: file.sha256 },
			remedy: `Delete ${folder}, and the blob ${expected} beside it, then run the same command again`,
		});
	return { ...file, repository, commit };
}
