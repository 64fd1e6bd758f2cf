import type { IncomingMessage } from "node:http";
import {
	checkGate,
	findCommit,
	findFile,
	findRepo,
	type HubState,
} from "./access.ts";
import {
	fileReply,
	jsonReply,
	Refusal,
	type Reply,
	textReply,
} from "./reply.ts";
import type { Commit, Repo, RepoFile } from "./repo.ts";
import type { SignedUrls } from "./signed-urls.ts";

const XET_INFO = "application/vnd.xet-fileinfo+json";

/**
 * Answer `/{owner}/{name}/resolve/{revision}/{path}`, `…/raw/…` and `/api/resolve-cache/models/{owner}/{name}/…`.
 *
 * @throws {Refusal}
 */
export function answerDownload(
	hub: HubState,
	urls: SignedUrls,
	request: IncomingMessage,
	url: URL,
): Reply {
	const cached = url.pathname.replace(
		/^\/api\/resolve-cache\/models\/([^/]+\/[^/]+)/,
		"/$1/resolve-cache",
	);
	const [, owner = "", name = "", call = "", rev = "", ...rest] = cached
		.split("/")
		.map(decodeURIComponent);
	if (!["resolve", "raw", "resolve-cache"].includes(call) || rest.length === 0)
		throw new Refusal(404, null, "Sorry, we can't find the page");
	const repo = findRepo(hub, request, `${owner}/${name}`);
	checkGate(hub, request, repo);
	const commit = findCommit(repo, rev);
	const file = findFile(commit, rest.join("/"));
	const reply =
		call === "raw"
			? raw(request, file)
			: file.lfs
				? resolveLfs(hub, urls, request, { repo, commit, file })
				: resolveSmall(hub, request, { repo, commit, file }, call);
	reply.headers["X-Repo-Commit"] = commit.id;
	return reply;
}

interface Found {
	repo: Repo;
	commit: Commit;
	file: RepoFile;
}

function raw(request: IncomingMessage, file: RepoFile): Reply {
	if (file.lfs) return textReply(file.lfs.pointer);
	return fileReply(request, file.bytes, `"${file.blobId}"`);
}

function resolveSmall(
	hub: HubState,
	request: IncomingMessage,
	{ repo, commit, file }: Found,
	call: string,
): Reply {
	const etag = `"${file.blobId}"`;
	const name = file.path.split("/").at(-1);
	if (hub.redirectSmallFiles && call === "resolve") {
		const path = file.path.split("/").map(encodeURIComponent).join("/");
		const to = `/api/resolve-cache/models/${repo.name}/${commit.id}/${path}?etag=${encodeURIComponent(etag)}`;
		const reply = textReply(`Temporary Redirect. Redirecting to ${to}`, 307);
		Object.assign(reply.headers, {
			Location: to,
			"X-Linked-Size": String(file.bytes.byteLength),
			"X-Linked-ETag": etag,
		});
		return reply;
	}
	const reply = fileReply(request, file.bytes, etag);
	reply.headers["Content-Disposition"] = `inline; filename="${name}"`;
	return reply;
}

function resolveLfs(
	hub: HubState,
	urls: SignedUrls,
	request: IncomingMessage,
	found: Found,
): Reply {
	const { repo, commit, file } = found;
	const { sha256 = "", xetHash } = file.lfs ?? {};
	const api = `${hub.endpoint}/api/models/${repo.name}`;
	const headers: Record<string, string> = {
		"X-Linked-Size": String(file.bytes.byteLength),
		"X-Linked-ETag": `"${sha256}"`,
		...(xetHash !== undefined && {
			"X-Xet-Hash": xetHash,
			Link: [
				`<${api}/xet-read-token/${commit.id}>; rel="xet-auth"`,
				`<${hub.endpoint}/v1/reconstructions/${xetHash}>; rel="xet-reconstruction-info"`,
			].join(", "),
		}),
	};
	const wantsXet = request.headers.accept?.includes(XET_INFO);
	if (wantsXet && request.method === "GET" && xetHash !== undefined) {
		const reply = jsonReply({ hash: xetHash, size: file.bytes.byteLength });
		Object.assign(reply.headers, headers, { "Content-Type": XET_INFO });
		return reply;
	}
	const to = urls.sign(repo.name, file);
	const reply = textReply(`Found. Redirecting to ${to}`, 302);
	Object.assign(reply.headers, headers, { Location: to });
	return reply;
}
