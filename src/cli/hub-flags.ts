import { type FetchChoices, repositoryAt, UsageError } from "../index.ts";
import type { Terminal } from "./terminal.ts";

/** The flags of every command that may read from the Hub. */
export interface HubFlags {
	cacheDir?: string | undefined;
	offline?: boolean | undefined;
	token?: string | undefined;
}

/** @throws {UsageError} */
export function hubChoices(
	{ cacheDir, offline, token }: HubFlags,
	terminal: Terminal,
): Pick<FetchChoices, "hub"> {
	if (token !== undefined) {
		// Overwrites the arguments too, where other users can list those of a process.
		process.title = "merge-delta";
		if (token.trim() === "")
			throw new UsageError({
				where: "--token",
				what: "is empty",
				remedy: "Leave it out for that of HF_TOKEN, or none",
			});
	}
	const onNotice = (notice: string) => terminal.warn(notice);
	return { hub: { cacheDir, offline, token, onNotice } };
}

/**
 * A source at the revision that a flag of its own names.
 *
 * @throws {UsageError} where it has one already, or is a path
 */
export async function atRevision(
	source: string,
	revision: string | undefined,
	flag: string,
): Promise<string> {
	if (revision !== undefined && (await repositoryAt(source)) === null)
		throw new UsageError({
			where: flag,
			what: `${source} is a path, and only models of the Hub have revisions`,
			remedy: "Leave it out, or name a model as org/name@revision",
		});
	return joinRevision(source, revision, flag);
}

/** The same for what is never taken for a path. */
export function joinRevision(
	repo: string,
	revision: string | undefined,
	flag: string,
): string {
	if (revision === undefined) return repo;
	if (!repo.includes("@")) return `${repo}@${revision}`;
	throw new UsageError({
		where: flag,
		what: `${repo} names a revision already`,
		remedy: "Say it once",
	});
}

/** The flags of base and delta for {@link atRevision}. */
export interface SideRevisions {
	baseRevision?: string | undefined;
	deltaRevision?: string | undefined;
}

/** @throws {UsageError} as {@link atRevision} does */
export async function atRevisions({
	base,
	delta,
	baseRevision,
	deltaRevision,
}: { base: string; delta: string } & SideRevisions) {
	return {
		base: await atRevision(base, baseRevision, "--base-revision"),
		delta: await atRevision(delta, deltaRevision, "--delta-revision"),
	};
}
