import { lstat } from "node:fs/promises";
import type { ListFileEntry } from "@huggingface/hub";
import { MergeDeltaError } from "../errors.ts";
import { metadataFetch, notUnderstood } from "./metadata.ts";
import type { HubSettings } from "./settings.ts";

/** A repository of a model, and the revision that is meant. */
export interface Repository {
	/** `org/name` */
	name: string;
	/** branch, tag or commit; null for the default branch */
	revision: string | null;
}

/** A file of a repository at one commit. */
export interface RemoteFile {
	repository: string;
	/** 40 hex digits */
	commit: string;
	/** in the repository, with `/` */
	path: string;
	byteLength: number;
	/** name of its blob, and checksum: SHA-256 of an LFS file, id of the git blob of any other */
	oid: string;
	isLfs: boolean;
}

/** As the Hub allows them (huggingface_hub, `validate_repo_id`). */
const NAME = /^\w[\w.-]*\/[\w.-]{1,96}$/;
const REVISION = /^\w[\w./+-]{0,199}$/;
/** What ends so is a file that is not there, not a repository. */
const FILE = /\.(safetensors|bin|pth|pt|enc|json|zip|gguf)$/i;

const MOST_FILES = 100_000;
export const COMMIT = /^[0-9a-f]{40}$/;
/** Names of blobs: the SHA-1 of a git blob, or a SHA-256. */
export const OID = /^([0-9a-f]{40}|[0-9a-f]{64})$/;

/** `org/name` or `org/name@revision`; null for what cannot be one. */
export function parseRepository(text: string): Repository | null {
	const at = text.indexOf("@");
	const name = at < 0 ? text : text.slice(0, at);
	const revision = at < 0 ? null : text.slice(at + 1);
	const isName = NAME.test(name) && !/--|\.\.|[.-]$|\/[.-]|\.git$/.test(name);
	const isRevision =
		revision === null ||
		(REVISION.test(revision) && !/\.\.|\/\/|\/\.|[./]$|\.lock$/.test(revision));
	return isName && isRevision ? { name, revision } : null;
}

/** The repository that a location names; null where something lies there, or it is written as a path. */
export async function repositoryAt(
	location: string,
): Promise<Repository | null> {
	const repository = parseRepository(location);
	if (repository === null) return null;
	if (repository.revision === null && FILE.test(location)) return null;
	// Whatever keeps it from being looked at, something of that name is here.
	const isThere = await lstat(location).then(
		() => true,
		(error) => error.code !== "ENOENT" && error.code !== "ENOTDIR",
	);
	return isThere ? null : repository;
}

/** What a repository without a revision means, as in the Python client. */
export const DEFAULT_REVISION = "main";

/**
 * Ask the Hub once which commit a revision is; everything after that names the commit.
 *
 * @throws {UsageError} where repository or revision are not there
 * @throws {NetworkError}
 */
export async function resolveCommit(
	settings: HubSettings,
	{ name, revision }: Repository,
	signal?: AbortSignal,
): Promise<string> {
	if (revision !== null && COMMIT.test(revision)) return revision;
	const subject = { repository: name, revision };
	const { modelInfo } = await import("@huggingface/hub");
	const { sha } = await understood(subject, () =>
		modelInfo({
			...{ name, hubUrl: settings.endpoint, additionalFields: ["sha"] },
			revision: revision ?? DEFAULT_REVISION,
			fetch: metadataFetch(settings, subject, signal),
		}),
	);
	if (typeof sha === "string" && COMMIT.test(sha)) return sha;
	throw notUnderstood(subject, "it names no commit");
}

/**
 * All files of a repository at a commit.
 *
 * @throws {NetworkError}
 */
export async function listRemoteFiles(
	settings: HubSettings,
	repository: string,
	commit: string,
	signal?: AbortSignal,
): Promise<RemoteFile[]> {
	const subject = { repository, revision: commit };
	const { listFiles } = await import("@huggingface/hub");
	return understood(subject, async () => {
		const files: RemoteFile[] = [];
		const entries = listFiles({
			...{ repo: { type: "model" as const, name: repository } },
			...{ revision: commit, recursive: true, hubUrl: settings.endpoint },
			fetch: metadataFetch(settings, subject, signal),
		});
		for await (const entry of entries) {
			if (files.length === MOST_FILES)
				throw notUnderstood(subject, `more than ${MOST_FILES} files`);
			if (entry.type !== "file" || !isPlainPath(entry.path)) continue;
			files.push(toRemoteFile(entry, repository, commit));
		}
		return files;
	});
}

function toRemoteFile(
	entry: ListFileEntry,
	repository: string,
	commit: string,
): RemoteFile {
	const { path, lfs } = entry;
	const [byteLength, oid] = [lfs?.size ?? entry.size, lfs?.oid ?? entry.oid];
	const isSound =
		Number.isSafeInteger(byteLength) &&
		byteLength >= 0 &&
		typeof oid === "string" &&
		OID.test(oid) &&
		(lfs === undefined || oid.length === 64);
	if (!isSound)
		throw notUnderstood(
			{ repository, revision: commit, path },
			"its size or checksum make no sense",
		);
	return {
		...{ repository, commit, path, byteLength, oid },
		isLfs: lfs !== undefined,
	};
}

/** Whether a path stays below the folder it is put in, on every system. */
export function isPlainPath(path: unknown): path is string {
	return (
		typeof path === "string" &&
		// biome-ignore lint/suspicious/noControlCharactersInRegex: those are what must not be there
		!/[\\:\u0000-\u001f]/.test(path) &&
		path
			.split("/")
			.every((part) => part !== "" && part !== "." && part !== "..")
	);
}

/** What hub.js throws on answers of an unexpected shape is no bug of ours. */
async function understood<T>(
	subject: { repository: string; revision: string | null },
	work: () => Promise<T>,
): Promise<T> {
	try {
		return await work();
	} catch (error) {
		if (error instanceof MergeDeltaError) throw error;
		if (error instanceof TypeError)
			throw notUnderstood(subject, "it has another shape than expected");
		throw error;
	}
}
