import { neededFiles, SOUGHT_FILES } from "./checkpoint/needed-files.ts";
import { decideEngineOptions } from "./engine/engine-options.ts";
import type { ReadFile } from "./engine/manifest.ts";
import { preflight } from "./engine/preflight.ts";
import type { PublishOptions } from "./engine/publish.ts";
import { VerificationError } from "./errors.ts";
import type { DownloadProgress } from "./hub/download.ts";
import {
	type FetchedRepository,
	fetchRepositories,
} from "./hub/fetch-repository.ts";
import { repositoryAt } from "./hub/repository.ts";
import type { HubOptions } from "./hub/settings.ts";

/** How models are brought from the Hub, where one is named. */
export interface FetchChoices {
	hub?: HubOptions | undefined;
	onFetch?: ((progress: DownloadProgress) => void) | undefined;
	signal?: AbortSignal | undefined;
}

/** An input, on this machine. */
export interface Located {
	path: string;
	/** where it came from; null for what was here */
	origin: FetchedRepository | null;
}

/** Of all paths in a repository, those to bring from there. */
export type Choice = (paths: readonly string[]) => readonly string[];

/**
 * Find inputs: paths are what they are, repositories of the Hub (`org/name[@revision]`) are brought into its cache.
 * A path that exists is never taken for a repository.
 */
export async function locateInputs(
	locations: readonly string[],
	{ hub, onFetch: onProgress, signal }: FetchChoices,
	choose: Choice = neededFiles,
): Promise<Located[]> {
	const isRemote = await Promise.all(locations.map(isRepository));
	const repos = locations.filter((_, i) => isRemote[i]);
	const fetched =
		repos.length === 0
			? []
			: await fetchRepositories(repos, {
					...{ ...hub, choose, onProgress, signal },
					sought: SOUGHT_FILES,
				});
	return locations.map((path, i) => {
		const origin = isRemote[i] ? (fetched.shift() ?? null) : null;
		return { path: origin?.folder ?? path, origin };
	});
}

/** Whether any of these is to be fetched from the Hub. */
export async function anyRemote(
	locations: readonly string[],
): Promise<boolean> {
	return (await Promise.all(locations.map(isRepository))).includes(true);
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

async function isRepository(location: string): Promise<boolean> {
	return (await repositoryAt(location)) !== null;
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
