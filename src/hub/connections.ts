import type { Readable } from "node:stream";
import type { Agent, buildConnector, Dispatcher } from "undici";
import type { Proxies, ProxyServer } from "./proxies.ts";

/** Bytes of a body that wait for whoever takes them: what comes while a piece is written and hashed. */
const READ_AHEAD_BYTES = 2 ** 20;

/** A request as it goes out; no redirect of its answer is followed. */
export interface OutgoingRequest {
	method: string;
	headers: Readonly<Record<string, string>>;
	body: string | null;
	signal: AbortSignal;
}

/** An answer as it comes, nothing of it decoded. */
export interface IncomingResponse {
	status: number;
	headers: Headers;
	body: Readable;
}

/**
 * The connections of one piece of work, kept open between requests, by way of a proxy where one is named. They are
 * undici's own and not those of the built-in `fetch`: that knows no proxies on every Node this runs on, copies each
 * body through two streams, and speaks HTTP/2 with small windows on the newest.
 */
export class Connections {
	private readonly proxies: Proxies;
	private readonly connect: buildConnector.BuildOptions;
	private readonly dispatchers = new Map<string, Promise<Dispatcher>>();

	/** @param connect  how sockets are made, where the default does not do */
	constructor(proxies: Proxies, connect: buildConnector.BuildOptions = {}) {
		this.proxies = proxies;
		this.connect = connect;
	}

	/** The proxy that may stand between, unless the host is excepted. */
	proxyFor({ protocol }: URL): ProxyServer | null {
		return protocol === "https:" ? this.proxies.https : this.proxies.http;
	}

	/** Load what it takes to send, which is to count for no request. */
	async prepare(url: URL): Promise<Dispatcher> {
		let dispatcher = this.dispatchers.get(url.protocol);
		if (dispatcher === undefined) {
			dispatcher = this.open(this.proxyFor(url));
			this.dispatchers.set(url.protocol, dispatcher);
		}
		return dispatcher;
	}

	async send(url: URL, request: OutgoingRequest): Promise<IncomingResponse> {
		const dispatcher = await this.prepare(url);
		const asked = dispatcher.request({
			...{ origin: url.origin, path: `${url.pathname}${url.search}` },
			...{ ...request, method: request.method as Dispatcher.HttpMethod },
			highWaterMark: READ_AHEAD_BYTES,
		});
		const answer = await orAborted(asked, request.signal);
		const headers = new Headers();
		for (const [name, value] of Object.entries(answer.headers))
			for (const each of [value ?? []].flat()) headers.append(name, each);
		return { status: answer.statusCode, headers, body: answer.body };
	}

	private async open(proxy: ProxyServer | null): Promise<Dispatcher> {
		const { Agent, EnvHttpProxyAgent } = await import("undici");
		// How long to wait is told by whoever asks.
		const options: Agent.Options = {
			...{ headersTimeout: 0, bodyTimeout: 0, connect: this.connect },
		};
		if (proxy === null) return new Agent(options);
		const { origin, authorization } = proxy;
		return new EnvHttpProxyAgent({
			...options,
			...{ httpProxy: origin, httpsProxy: origin, proxyTunnel: false },
			noProxy: this.proxies.exceptions,
			...{ proxyTls: this.connect, requestTls: this.connect },
			...(authorization === null ? {} : { token: authorization }),
		});
	}
}

/** Undici does not hear of a signal as long as a connection is still being made. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
	let abort = () => {};
	const aborted = new Promise<never>((_, reject) => {
		abort = () => reject(signal.reason);
		if (signal.aborted) abort();
		signal.addEventListener("abort", abort);
	});
	return Promise.race([work, aborted]).finally(() =>
		signal.removeEventListener("abort", abort),
	);
}
