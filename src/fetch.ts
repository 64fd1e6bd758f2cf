import { neededFiles, SOUGHT_FILES } from "./checkpoint/needed-files.ts";
import type { DownloadProgress } from "./hub/download.ts";
import {
	type FetchedRepository,
	fetchRepository,
} from "./hub/fetch-repository.ts";
import type { HubOptions } from "./hub/settings.ts";

interface FetchModelOptions extends HubOptions {
	signal?: AbortSignal | undefined;
	onProgress?: ((progress: DownloadProgress) => void) | undefined;
}

export interface FetchOptions extends FetchModelOptions {
	/** `org/name` or `org/name@revision` */
	repo: string;
}

/**
 * Bring a model from the Hub into the cache that is shared with the Python client, each file checked by its
 * checksum. What is there already is not fetched again; what was interrupted goes on where it stopped.
 *
 * @throws {MergeDeltaError} of the kind that says how to react
 */
export async function fetch({
	repo,
	...options
}: FetchOptions): Promise<FetchedRepository> {
	return fetchModel(repo, options);
}

/** The same. @param choose  of all paths in the repository, those to fetch */
export async function fetchModel(
	repo: string,
	options: FetchModelOptions,
	choose: (paths: readonly string[]) => readonly string[] = neededFiles,
): Promise<FetchedRepository> {
	return fetchRepository(repo, { ...options, choose, sought: SOUGHT_FILES });
}
