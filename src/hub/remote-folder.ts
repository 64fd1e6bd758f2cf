import type { FileSource } from "../io/file-source.ts";
import { openHubSource } from "./hub-source.ts";
import {
	listRemoteFiles,
	parseRepository,
	type RemoteFile,
	resolveCommit,
} from "./repository.ts";
import { type HubOptions, readHubSettings } from "./settings.ts";

/** The files of a repository at one commit, read where they are. */
export interface RemoteFolder {
	/** `org/name@commit` */
	location: string;
	list(): Promise<string[]>;
	has(fileName: string): Promise<boolean>;
	open(fileName: string): Promise<FileSource>;
}

/**
 * Look into a repository without storing anything of it.
 *
 * @returns null where the network is not to be used, or `repo` names no repository
 * @throws {UsageError} where there is no such repository or revision
 * @throws {NetworkError} @throws {InterruptedError}
 */
export async function openRemoteFolder(
	repo: string,
	options: HubOptions,
	signal?: AbortSignal,
): Promise<RemoteFolder | null> {
	const repository = parseRepository(repo);
	const settings = await readHubSettings(options);
	if (repository === null || settings.offline) return null;
	const { name } = repository;
	const commit = await resolveCommit(settings, repository, signal);
	const files = new Map<string, RemoteFile>();
	for (const file of await listRemoteFiles(settings, name, commit, signal))
		files.set(file.path, file);
	return {
		location: `${name}@${commit}`,
		list: async () => [...files.keys()].filter((path) => !path.includes("/")),
		has: async (fileName) => files.has(fileName),
		open: async (fileName) =>
			openHubSource(settings, files.get(fileName) as RemoteFile, signal),
	};
}
