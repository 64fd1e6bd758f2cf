import {
	createServer,
	type IncomingHttpHeaders,
	type IncomingMessage,
	type Server,
	type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import type { HubState } from "./access.ts";
import { answerApi } from "./api.ts";
import { distort } from "./distort.ts";
import { answerDownload } from "./download.ts";
import { type Fault, FaultScript, isWireFault } from "./faults.ts";
import { Refusal, type Reply, textReply } from "./reply.ts";
import { Repo, type RepoSpec } from "./repo.ts";
import { SignedUrls } from "./signed-urls.ts";
import type { Files } from "./stored-bytes.ts";
import { send, sendBroken, sendRaw } from "./wire.ts";

export interface LocalHubOptions {
	/** by `owner/name` */
	repos: Record<string, RepoSpec>;
	/** tokens, each with the private and gated repositories it opens */
	tokens?: Record<string, readonly string[]>;
	/** how long a signed address of the CDN is good; an hour unless said */
	urlSeconds?: number;
	/** entries in a page of a tree; 1000 unless said */
	pageSize?: number;
	/** answer small files by way of a redirect to `/api/resolve-cache/…`, as the real one does at times */
	redirectSmallFiles?: boolean;
	/** port of the hub itself; a free one unless said */
	port?: number;
}

/** A request as it came in. */
export interface LoggedRequest {
	origin: "endpoint" | "cdn";
	method: string;
	/** whole: `http://127.0.0.1:…/…` */
	url: string;
	headers: IncomingHttpHeaders;
	/** the fault it met, `pass` for none */
	fault: Fault["kind"];
}

/** A hub on this machine, with the object store it redirects to on another host name. */
export interface LocalHub {
	endpoint: string;
	cdn: string;
	/** in the order of their arrival */
	requests: LoggedRequest[];
	/**
	 * Let requests fail. Of several that fit, the one that was written first and is not used up counts.
	 *
	 * @param pattern of the method and the whole address: `GET http://…`
	 * @param times 1 unless said
	 */
	fail(pattern: RegExp, fault: Fault, times?: number): void;
	/** The head of a repository's `main`, or the commit that another revision names. */
	commitOf(repo: string, revision?: string): string;
	/** Make these files the new head of a repository's `main`. @returns the commit */
	commit(repo: string, files: Files): Promise<string>;
	/** From now on no signed address that was given out is good any more. */
	expireUrls(): void;
	/** Cut every connection, and go on. */
	cut(): void;
	/** How many bytes of files in LFS were asked for by ranges, of those whose address fits; default all. */
	requestedBytes(pattern?: RegExp): number;
	/**
	 * Cut every connection and stop.
	 *
	 * @throws {Error} of the first request that the hub itself failed at, as where a fault did not fit the answer
	 */
	close(): Promise<void>;
}

/** Start a hub that answers as the Hugging Face Hub does, as far as it takes to download models. Must be closed. */
export async function startLocalHub(
	options: LocalHubOptions,
): Promise<LocalHub> {
	const hub = new Hub(options);
	for (const [name, spec] of Object.entries(options.repos))
		hub.repos.set(name, await Repo.create(name, spec));
	await hub.listen(options.port ?? 0);
	return hub;
}

class Hub implements LocalHub {
	readonly requests: LoggedRequest[] = [];
	readonly repos = new Map<string, Repo>();
	private readonly script = new FaultScript();
	private readonly options: LocalHubOptions;
	private readonly urls: SignedUrls;
	private readonly servers: Server[];
	private failure: unknown;
	endpoint = "";
	cdn = "";

	constructor(options: LocalHubOptions) {
		this.options = options;
		this.urls = new SignedUrls(() => this.cdn, options.urlSeconds ?? 3600);
		this.servers = (["endpoint", "cdn"] as const).map((origin) =>
			createServer((request, response) =>
				this.answer(origin, request, response),
			),
		);
	}

	async listen(port: number): Promise<void> {
		const [endpoint, cdn] = this.servers as [Server, Server];
		this.endpoint = `http://127.0.0.1:${await listenOn(endpoint, "127.0.0.1", port)}`;
		// Another host name, not just another port: clients take those for the same host.
		this.cdn = `http://localhost:${await listenOn(cdn, "127.0.0.1", 0)}`;
	}

	fail(pattern: RegExp, fault: Fault, times = 1): void {
		this.script.add(pattern, fault, times);
	}

	commitOf(repo: string, revision = "main"): string {
		const commit = this.repoNamed(repo).find(revision);
		if (commit === undefined) throw new Error(`${repo} has no ${revision}`);
		return commit.id;
	}

	async commit(repo: string, files: Files): Promise<string> {
		return (await this.repoNamed(repo).commit(files, "Upload files")).id;
	}

	expireUrls(): void {
		this.urls.expireAll();
	}

	requestedBytes(pattern = /./): number {
		return this.requests
			.filter(({ origin, url }) => origin === "cdn" && pattern.test(url))
			.map(({ headers }) => /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? ""))
			.reduce(
				(sum, range) =>
					sum + (range ? Number(range[2]) - Number(range[1]) + 1 : 0),
				0,
			);
	}

	cut(): void {
		for (const server of this.servers) server.closeAllConnections();
	}

	async close(): Promise<void> {
		await Promise.all(
			this.servers.map(async (server) => {
				const closed = new Promise((resolve) => server.close(resolve));
				server.closeAllConnections();
				await closed;
			}),
		);
		if (this.failure !== undefined) throw this.failure;
	}

	private repoNamed(name: string): Repo {
		const repo = this.repos.get(name);
		if (repo === undefined) throw new Error(`this hub has no ${name}`);
		return repo;
	}

	private async answer(
		origin: "endpoint" | "cdn",
		request: IncomingMessage,
		response: ServerResponse,
	): Promise<void> {
		const { method = "", headers } = request;
		const url = this[origin] + request.url;
		const fault = this.script.take(method, url);
		this.requests.push({ origin, method, url, headers, fault: fault.kind });
		const isHead = method === "HEAD";
		try {
			const reply = await this.reply(origin, request, new URL(url));
			this.addUsualHeaders(origin, reply, url);
			if (isWireFault(fault))
				return await sendBroken(request.socket, reply, fault, isHead);
			const wrong = await distort(reply, fault, url);
			if (fault.kind === "headers")
				return await sendRaw(request.socket, wrong, isHead);
			await send(response, wrong, isHead);
		} catch (error) {
			this.failure ??= error;
			if (response.headersSent) response.destroy();
			else await send(response, textReply(`local hub: ${error}`, 500), isHead);
		}
	}

	private async reply(
		origin: "endpoint" | "cdn",
		request: IncomingMessage,
		url: URL,
	): Promise<Reply> {
		try {
			if (origin === "cdn") return this.urls.answer(request, url);
			return url.pathname.startsWith("/api/models/")
				? await answerApi(this.state(), request, url)
				: answerDownload(this.state(), this.urls, request, url);
		} catch (error) {
			if (error instanceof Refusal) return error.toReply();
			throw error;
		}
	}

	private addUsualHeaders(
		origin: "endpoint" | "cdn",
		reply: Reply,
		url: string,
	): void {
		const count = this.requests.length;
		reply.headers["X-Request-Id"] = `Root=1-${count}`;
		if (origin === "cdn") {
			reply.headers["X-Cache"] = "Miss from cloudfront";
			return;
		}
		const bucket = url.includes("/api/models/") ? "api" : "resolvers";
		reply.headers.RateLimit = `"${bucket}";r=${Math.max(1, 3000 - count)};t=286`;
	}

	private state(): HubState {
		return {
			endpoint: this.endpoint,
			repos: this.repos,
			tokens: this.options.tokens ?? {},
			pageSize: this.options.pageSize ?? 1000,
			redirectSmallFiles: this.options.redirectSmallFiles ?? false,
		};
	}
}

async function listenOn(
	server: Server,
	host: string,
	port: number,
): Promise<number> {
	await new Promise<void>((resolve, reject) => {
		server.once("error", reject);
		server.listen(port, host, resolve);
	});
	return (server.address() as AddressInfo).port;
}
