import { UsageError } from "../errors.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** A server that stands between. */
export interface ProxyServer {
	/** without user and password: it is shown in messages */
	origin: string;
	/** for `Proxy-Authorization`; null where the proxy wants none */
	authorization: string | null;
	/** the variable that names it */
	variable: string;
}

/** The proxy for the addresses of each kind; null for none. */
export interface Proxies {
	http: ProxyServer | null;
	https: ProxyServer | null;
	/** hosts that are reached without one, as `NO_PROXY` has them */
	exceptions: string;
}

/**
 * The proxies that the environment names, as curl and Python's clients read it: the lower-case name comes first,
 * `ALL_PROXY` last, and an empty value is none.
 *
 * @throws {UsageError} where a value is no address of a proxy; its user and password are never shown
 */
export function readProxies(env: Environment): Proxies {
	const of = (scheme: "http" | "https") => {
		for (const name of [`${scheme}_proxy`, "all_proxy"])
			for (const variable of [name, name.toUpperCase()]) {
				const text = env[variable];
				if (text === undefined) continue;
				if (text.trim() === "") break;
				return parseProxy(text.trim(), variable);
			}
		return null;
	};
	return {
		...{ http: of("http"), https: of("https") },
		exceptions: env.no_proxy ?? env.NO_PROXY ?? "",
	};
}

function parseProxy(text: string, variable: string): ProxyServer {
	const address = text.includes("://") ? text : `http://${text}`;
	const url = URL.canParse(address) ? new URL(address) : null;
	if (url === null || !/^https?:$/.test(url.protocol))
		throw new UsageError({
			where: variable,
			what: "not the address of a proxy that is spoken to by HTTP",
			expected: "an address such as http://proxy.example:3128",
			remedy: "Other kinds, such as SOCKS, are not known here",
		});
	const { username, password, origin } = url;
	const user = `${decode(username)}:${decode(password)}`;
	return {
		...{ origin, variable },
		authorization:
			username === "" ? null : `Basic ${Buffer.from(user).toString("base64")}`,
	};
}

function decode(text: string): string {
	try {
		return decodeURIComponent(text);
	} catch {
		return text; // a percent sign that was meant as one
	}
}
