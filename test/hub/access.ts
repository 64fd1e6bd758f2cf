import type { IncomingMessage } from "node:http";
import { Refusal } from "./reply.ts";
import type { Commit, Repo, RepoFile } from "./repo.ts";

/** What the hub holds and who may see what. */
export interface HubState {
	endpoint: string;
	repos: ReadonlyMap<string, Repo>;
	/** tokens, each with the private and gated repositories it opens */
	tokens: Record<string, readonly string[]>;
	/** entries in a page of a tree */
	pageSize: number;
	/** whether a small file is answered by way of a relative redirect */
	redirectSmallFiles: boolean;
}

/**
 * The repository, where the request may know of it.
 *
 * @throws {Refusal} 401 to strangers, 404 to those who are known, as if it did not exist
 */
export function findRepo(
	hub: HubState,
	request: IncomingMessage,
	name: string,
): Repo {
	const opened = openedBy(hub, request);
	const repo = hub.repos.get(name);
	const hidden = repo?.spec.private === true && !opened?.includes(name);
	if (repo !== undefined && !hidden) return repo;
	if (opened === null)
		throw new Refusal(401, "RepoNotFound", "Invalid username or password.");
	throw new Refusal(404, "RepoNotFound", "Repository not found");
}

/** @throws {Refusal} 401 or 403 where the files of the repository are gated */
export function checkGate(
	hub: HubState,
	request: IncomingMessage,
	repo: Repo,
): void {
	if (repo.spec.gated !== true) return;
	const opened = openedBy(hub, request);
	if (opened?.includes(repo.name)) return;
	const what = `Access to model ${repo.name} is restricted`;
	if (opened === null)
		throw new Refusal(
			401,
			"GatedRepo",
			`${what}. You must have access to it and be authenticated to access it. Please log in.`,
		);
	throw new Refusal(
		403,
		"GatedRepo",
		`${what} and you are not in the authorized list. Visit ${hub.endpoint}/${repo.name} to ask for access.`,
	);
}

/** @throws {Refusal} */
export function findCommit(repo: Repo, revision: string): Commit {
	const commit = repo.find(revision);
	if (commit === undefined)
		throw new Refusal(404, "RevisionNotFound", `Invalid rev id: ${revision}`);
	return commit;
}

/** @throws {Refusal} that tells the commit, so that it can be remembered that the file is not in it */
export function findFile(commit: Commit, path: string): RepoFile {
	const file = commit.files.get(path);
	if (file === undefined)
		throw new Refusal(404, "EntryNotFound", "Entry not found", {
			"X-Repo-Commit": commit.id,
		});
	return file;
}

/** The repositories that the request's token opens, null without a token. */
function openedBy(
	hub: HubState,
	request: IncomingMessage,
): readonly string[] | null {
	const { authorization } = request.headers;
	if (authorization === undefined) return null;
	const opened = hub.tokens[authorization.replace(/^Bearer /, "")];
	if (opened === undefined)
		throw new Refusal(401, null, "Invalid credentials in Authorization header");
	return opened;
}
