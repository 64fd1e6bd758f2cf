import { fetchModel } from "./fetch.ts";
import type { FetchedRepository } from "./hub/fetch-repository.ts";
import { repositoryAt } from "./hub/repository.ts";
import type { FetchChoices } from "./locate.ts";

/** An input that is on this machine, all of it. */
export interface Brought {
	path: string;
	/** where it came from; null for what was here */
	origin: FetchedRepository | null;
}

/**
 * Bring inputs here: paths are what they are, repositories of the Hub (`org/name[@revision]`) are fetched into its
 * cache. A path that exists is never taken for a repository.
 *
 * @param choose  of all paths in a repository, those to fetch; default: those of a model
 */
export async function bringInputs(
	locations: readonly string[],
	{ hub, onFetch: onProgress, signal }: FetchChoices,
	choose?: (paths: readonly string[]) => readonly string[],
): Promise<Brought[]> {
	const brought: Brought[] = [];
	for (const location of locations) {
		const origin =
			(await repositoryAt(location)) === null
				? null
				: await fetchModel(location, { ...hub, onProgress, signal }, choose);
		brought.push({ path: origin?.folder ?? location, origin });
	}
	return brought;
}
