import type { IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { checkGate, findCommit, findRepo, type HubState } from "./access.ts";
import { jsonReply, Refusal, type Reply } from "./reply.ts";
import type { Commit, Repo, RepoFile } from "./repo.ts";

/**
 * Answer what begins with `/api/models/`: a model's description, its tree, what is known of some paths.
 *
 * @param url whole, as it was asked
 * @throws {Refusal}
 */
export async function answerApi(
	hub: HubState,
	request: IncomingMessage,
	url: URL,
): Promise<Reply> {
	const [owner = "", name = "", call = "", rev = "", ...rest] = url.pathname
		.replace("/api/models/", "")
		.split("/")
		.map(decodeURIComponent);
	const repo = findRepo(hub, request, `${owner}/${name}`);
	const commit = findCommit(repo, rev || "main");
	switch (call) {
		case "":
		case "revision":
			return jsonReply(describe(repo, commit, url.searchParams));
		case "tree":
			return tree(hub, commit, rest.filter((s) => s !== "").join("/"), url);
		case "paths-info":
			return jsonReply(await pathsInfo(commit, request));
		case "xet-read-token":
			checkGate(hub, request, repo);
			throw new Refusal(501, null, "This hub has no Xet storage");
		default:
			throw new Refusal(404, null, "Sorry, we can't find the page");
	}
}

function describe(
	repo: Repo,
	commit: Commit,
	query: URLSearchParams,
): Record<string, unknown> {
	const blobs = query.get("blobs") === "true";
	const all: Record<string, unknown> = {
		_id: "6450a7d2a8ac2d8ae3b4f6e1",
		id: repo.name,
		modelId: repo.name,
		author: repo.name.split("/")[0],
		sha: commit.id,
		lastModified: commit.date,
		createdAt: commit.date,
		private: repo.spec.private ?? false,
		gated: repo.spec.gated ? "manual" : false,
		disabled: false,
		downloads: 1234,
		likes: 56,
		tags: ["transformers", "llama"],
		pipeline_tag: "text-generation",
		siblings: [...commit.files.values()].map((file) => ({
			rfilename: file.path,
			...(blobs && { blobId: file.blobId, size: file.bytes.byteLength }),
			...(blobs && file.lfs && { lfs: lfsInfo(file, "sha256") }),
		})),
	};
	const asked = query.getAll("expand");
	if (asked.length === 0) return all;
	return Object.fromEntries(
		["_id", "id", ...asked].map((key) => [key, all[key]]),
	);
}

/** A page of a tree, with the address of the next. */
function tree(hub: HubState, commit: Commit, folder: string, url: URL): Reply {
	const expand = url.searchParams.get("expand") === "true";
	const recursive = url.searchParams.get("recursive") === "true";
	const entries = entriesBelow(commit, folder, recursive, expand);
	if (folder !== "" && entries.length === 0)
		throw new Refusal(404, "EntryNotFound", `${folder} does not exist`, {
			"X-Repo-Commit": commit.id,
		});
	const cursor = url.searchParams.get("cursor") ?? "";
	const begin = Number(Buffer.from(cursor, "base64url").toString() || "0");
	const end = begin + hub.pageSize;
	const reply = jsonReply(entries.slice(begin, end));
	if (end < entries.length) {
		const next = new URL(url.pathname + url.search, hub.endpoint);
		const at = Buffer.from(String(end)).toString("base64url");
		next.searchParams.set("cursor", at);
		reply.headers.Link = `<${next.href}>; rel="next"`;
	}
	return reply;
}

function entriesBelow(
	commit: Commit,
	folder: string,
	recursive: boolean,
	expand: boolean,
): unknown[] {
	const prefix = folder === "" ? "" : `${folder}/`;
	const folders = new Map<string, RepoFile>();
	const entries: { path: string }[] = [];
	for (const file of commit.files.values()) {
		if (!file.path.startsWith(prefix)) continue;
		const parts = file.path.slice(prefix.length).split("/");
		for (let depth = 1; depth < parts.length; depth++)
			if (recursive || depth === 1)
				folders.set(prefix + parts.slice(0, depth).join("/"), file);
		if (recursive || parts.length === 1) entries.push(entry(file, expand));
	}
	for (const [path, file] of folders)
		entries.push({
			type: "directory",
			oid: file.lastCommit.id,
			size: 0,
			path,
			...(expand && { lastCommit: file.lastCommit }),
		} as { path: string });
	return entries.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** What is known of a file; all that `expand` adds where that is asked. */
function entry(file: RepoFile, expand: boolean): { path: string } {
	return {
		type: "file",
		oid: file.blobId,
		size: file.bytes.byteLength,
		path: file.path,
		...(file.lfs && { lfs: lfsInfo(file, "oid") }),
		...(file.lfs?.xetHash && { xetHash: file.lfs.xetHash }),
		...(expand && {
			lastCommit: file.lastCommit,
			securityFileStatus: {
				status: "safe",
				avScan: { status: "safe" },
				pickleImportScan: null,
			},
		}),
	} as { path: string };
}

function lfsInfo(file: RepoFile, key: string): Record<string, unknown> {
	return {
		[key]: file.lfs?.sha256,
		size: file.bytes.byteLength,
		pointerSize: file.lfs?.pointer.length,
	};
}

/** What is known of the paths that a request lists, as JSON or as a form; those that are not there are left out. */
async function pathsInfo(
	commit: Commit,
	request: IncomingMessage,
): Promise<unknown[]> {
	if (request.method !== "POST")
		throw new Refusal(404, null, "Cannot find this page");
	const body = await text(request);
	const form = !request.headers["content-type"]?.includes("json");
	const fields = form ? new URLSearchParams(body) : null;
	const asked = fields
		? { paths: fields.getAll("paths"), expand: fields.get("expand") === "true" }
		: (JSON.parse(body) as { paths: string[]; expand?: boolean });
	const all = entriesBelow(commit, "", true, asked.expand === true);
	return all.filter((e) => asked.paths.includes((e as { path: string }).path));
}
