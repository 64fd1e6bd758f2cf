import { type FetchChoices, UsageError } from "../index.ts";
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
 * @throws {UsageError} where it has one already
 */
export function atRevision(
	source: string,
	revision: string | undefined,
	flag: string,
): string {
	if (revision === undefined) return source;
	if (!source.includes("@")) return `${source}@${revision}`;
	throw new UsageError({
		where: flag,
		what: `${source} names a revision already`,
		remedy: "Say it once",
	});
}

/** The flags of base and delta for {@link atRevision}. */
export interface SideRevisions {
	baseRevision?: string | undefined;
	deltaRevision?: string | undefined;
}

/** @throws {UsageError} as {@link atRevision} does */
export function atRevisions({
	base,
	delta,
	baseRevision,
	deltaRevision,
}: { base: string; delta: string } & SideRevisions) {
	return {
		base: atRevision(base, baseRevision, "--base-revision"),
		delta: atRevision(delta, deltaRevision, "--delta-revision"),
	};
}
