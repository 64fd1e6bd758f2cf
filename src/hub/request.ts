import { setMaxListeners } from "node:events";
import type { Readable } from "node:stream";
import { NetworkError, throwIfAborted } from "../errors.ts";
import { describeUrl, isPrivateHost } from "./address.ts";
import type { IncomingResponse } from "./connections.ts";
import {
	describeSubject,
	proxyRefusal,
	type Subject,
	toRefusal,
} from "./refusal.ts";
import { PassingFailure } from "./retry.ts";
import type { HubSettings } from "./settings.ts";

const MOST_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

export interface Request {
	url: string;
	subject: Subject;
	method?: string;
	headers?: Readonly<Record<string, string>>;
	body?: string;
	/** until the headers of the answer */
	timeoutMs: number;
	/** answers to be given back beside those of success */
	also?: readonly number[];
	signal?: AbortSignal | undefined;
}

/** An answer whose body is still to be read, or dropped by `close`. */
export interface Answer {
	response: Pick<IncomingResponse, "status" | "headers">;
	/** false where it came from a server the Hub sends to */
	fromHub: boolean;
	/**
	 * The next bytes of the body; null at its end.
	 *
	 * @throws {PassingFailure} where the connection breaks, or nothing comes within `timeoutMs`
	 */
	read(timeoutMs: number): Promise<Uint8Array | null>;
	close(): void;
}

/**
 * Ask once, following redirects. The token goes to the origin of the endpoint alone, and no more once that has
 * sent elsewhere. Must be closed.
 *
 * @throws {PassingFailure} where another try may help
 * @throws {NetworkError} @throws {UsageError} where it does not
 * @throws {InterruptedError}
 */
export async function ask(
	settings: HubSettings,
	request: Request,
): Promise<Answer> {
	const endpoint = new URL(settings.endpoint);
	let url = new URL(request.url);
	let fromHub = url.origin === endpoint.origin;
	for (let redirects = 0; ; redirects++) {
		const exchange = new Exchange(settings, request, url);
		const response = await exchange.send(fromHub ? settings.token : null);
		const location = response.headers.get("location");
		if (REDIRECTS.has(response.status) && location !== null) {
			exchange.close();
			if (redirects === MOST_REDIRECTS)
				throw exchange.refuse(`more than ${MOST_REDIRECTS} redirects`);
			url = checkRedirect(url, location, endpoint, exchange);
			fromHub &&= url.origin === endpoint.origin;
			continue;
		}
		const isWanted = response.status >= 200 && response.status < 300;
		if (isWanted || request.also?.includes(response.status))
			return {
				...{ response, fromHub },
				read: (timeoutMs) => exchange.read(timeoutMs),
				close: () => exchange.close(),
			};
		exchange.close();
		const hasToken = settings.token !== null;
		throw toRefusal(response, request.subject, { fromHub, hasToken });
	}
}

/** @throws {NetworkError} where the Hub sends to what it should not */
function checkRedirect(
	from: URL,
	location: string,
	endpoint: URL,
	exchange: Exchange,
): URL {
	if (!URL.canParse(location, from.href))
		throw exchange.refuse("a redirect to what is no address");
	const to = new URL(location, from);
	if (!/^https?:$/.test(to.protocol))
		throw exchange.refuse(`a redirect to a ${to.protocol} address`);
	if (from.protocol === "https:" && to.protocol === "http:")
		throw exchange.refuse("a redirect from https to http");
	if (`${to.username}${to.password}` !== "")
		throw exchange.refuse("a redirect with a user or a password");
	if (isPrivateHost(to) && !isPrivateHost(endpoint))
		throw exchange.refuse("a redirect into a private network");
	return to;
}

/** One request and its answer, on one connection. */
class Exchange {
	private readonly settings: HubSettings;
	private readonly request: Request;
	private readonly url: URL;
	private readonly controller = new AbortController();
	private body: Readable | null = null;
	private pieces: AsyncIterator<Uint8Array> | null = null;
	private readonly abort = () => this.controller.abort();

	constructor(settings: HubSettings, request: Request, url: URL) {
		this.settings = settings;
		this.request = request;
		this.url = url;
		if (!request.signal) return;
		setMaxListeners(0, request.signal); // as many requests listen as are under way
		request.signal.addEventListener("abort", this.abort);
	}

	async send(token: string | null): Promise<IncomingResponse> {
		const { settings, url, request } = this;
		throwIfAborted(request.signal, this.where);
		await settings.connections.prepare(url);
		const response = await this.within(request.timeoutMs, "no answer", () =>
			settings.connections.send(url, {
				...{ method: request.method ?? "GET", body: request.body ?? null },
				headers: {
					"accept-encoding": "identity",
					...request.headers,
					"user-agent": "merge-delta",
					...(token === null ? {} : { authorization: `Bearer ${token}` }),
				},
				signal: this.controller.signal,
			}),
		);
		this.body = response.body.on("error", () => {}); // told to whoever reads
		this.pieces = response.body[Symbol.asyncIterator]();
		return response;
	}

	async read(timeoutMs: number): Promise<Uint8Array | null> {
		const { pieces } = this;
		if (pieces === null) return null;
		const { value } = await this.within(timeoutMs, "nothing came", () =>
			pieces.next(),
		);
		return value ?? null;
	}

	close(): void {
		this.request.signal?.removeEventListener("abort", this.abort);
		this.body?.destroy();
		this.controller.abort();
	}

	/** An error about what a server answered, which another try will not change. */
	refuse(what: string): NetworkError {
		return new NetworkError({
			where: this.where,
			what: `${what}, which is not followed`,
			remedy: "Is HF_ENDPOINT the Hub you mean?",
		});
	}

	private async within<T>(
		timeoutMs: number,
		what: string,
		work: () => Promise<T>,
	): Promise<T> {
		let isLate = false;
		const timer = setTimeout(() => {
			isLate = true;
			this.controller.abort();
		}, timeoutMs);
		try {
			return await work();
		} catch (error) {
			this.close();
			throwIfAborted(this.request.signal, this.where);
			throw isLate
				? new PassingFailure({
						where: this.where,
						what: `${what} within ${timeoutMs / 1000} s`,
					})
				: this.toFailure(error);
		} finally {
			clearTimeout(timer);
		}
	}

	private toFailure(error: unknown): Error {
		const proxy = this.settings.connections.proxyFor(this.url);
		const { code, message } = error as { code?: unknown; message?: unknown };
		const refused = /\b(?:Proxy .*\((\d{3})\))/.exec(String(message))?.[1];
		if (proxy !== null && refused !== undefined)
			return proxyRefusal(this.where, Number(refused));
		const failure = toNetworkFailure(code, this.where);
		if (proxy === null || !(failure instanceof PassingFailure)) return failure;
		return new PassingFailure({
			...failure.fault,
			remedy: `Can the proxy ${proxy.origin} be reached, which ${proxy.variable} names? NO_PROXY names hosts to reach without`,
		});
	}

	private get where(): string {
		const subject = describeSubject(this.request.subject);
		return `${subject} (${describeUrl(this.url, this.settings.endpoint)})`;
	}
}

/** What is said of a certificate or of TLS: trying again changes nothing. */
const TLS =
	/^(CERT_|ERR_TLS_|ERR_SSL_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_|HOSTNAME_MISMATCH|EPROTO)/;

function toNetworkFailure(
	code: unknown,
	where: string,
): NetworkError | PassingFailure {
	const name = typeof code === "string" ? code : "no reason given";
	if (TLS.test(name))
		return new NetworkError({
			where,
			what: `no safe connection (${name})`,
			remedy:
				"Check the clock and the certificates of this machine (NODE_EXTRA_CA_CERTS adds those of a proxy)",
		});
	return new PassingFailure({
		where,
		what: ["ENOTFOUND", "EAI_AGAIN"].includes(name)
			? `the server's name is not known (${name})`
			: `the connection failed (${name})`,
	});
}
