import { type MergeDeltaError, NetworkError, UsageError } from "../errors.ts";
import { PassingFailure, serverWaitMs } from "./retry.ts";

/** What a request is about, for messages. */
export interface Subject {
	/** `org/name` */
	repository: string;
	/** branch, tag or commit; null for the default branch */
	revision: string | null;
	/** path of a file, where it is about one */
	path?: string;
}

/** Answers that may be others the next time. */
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);

export function describeSubject({ repository, revision, path }: Subject) {
	const place = revision === null ? repository : `${repository}@${revision}`;
	return path === undefined ? place : `${place}, ${path}`;
}

/**
 * The error of an answer that is none of the wanted ones.
 *
 * @param fromHub   false where it came from a server the Hub sends to: what that refuses, the Hub may grant anew
 * @param hasToken  whether the request carried one
 */
export function toRefusal(
	{ status, headers }: { status: number; headers: Headers },
	subject: Subject,
	{ fromHub, hasToken }: { fromHub: boolean; hasToken: boolean },
): MergeDeltaError | PassingFailure {
	const where = describeSubject(subject);
	if (
		PASSING.has(status) ||
		(!fromHub && [400, 401, 403, 404].includes(status))
	)
		return new PassingFailure(
			{
				where,
				what: fromHub
					? status === 429
						? "the Hub has had too many requests (429)"
						: `the Hub failed (${status})`
					: `the server the Hub sends to refused (${status})`,
			},
			serverWaitMs(headers, Date.now()),
		);
	const code = headers.get("x-error-code");
	if (code === "GatedRepo") return gated(where, subject, hasToken);
	if (code === "RevisionNotFound")
		return new UsageError({
			where,
			what: "the repository has no such revision",
			remedy: "Name one of its branches, tags or commits behind the @",
		});
	if (code === "EntryNotFound")
		return new UsageError({
			where,
			what: "the repository has no such file at this revision",
			remedy: "Look at the list of its files on the Hub",
		});
	if (code === null && status === 401 && hasToken)
		return new NetworkError({
			where,
			what: "the Hub does not accept the token (401)",
			remedy: "Take a new one from its settings and set HF_TOKEN, or unset it",
		});
	if (code === "RepoNotFound" || status === 404 || status === 401)
		return missing(where, status, hasToken);
	if (status === 403)
		return new NetworkError({
			where,
			what: "the Hub refuses access (403)",
			remedy: hasToken
				? "Does the token (HF_TOKEN) have the right to read this repository?"
				: "Set HF_TOKEN to a token of an account that has access",
		});
	if (status === 407) return proxyRefusal(where, status);
	return new NetworkError({
		where,
		what: `the Hub gave an unexpected answer (${status})`,
	});
}

/** The error of what a proxy says instead of letting through. */
export function proxyRefusal(
	where: string,
	status: number,
): NetworkError | PassingFailure {
	if (PASSING.has(status))
		return new PassingFailure({ where, what: `the proxy failed (${status})` });
	if (status === 407)
		return new NetworkError({
			where,
			what: "the proxy wants a user and a password, or others (407)",
			remedy:
				"Write them into HTTPS_PROXY, as in http://user:password@proxy.example:3128",
		});
	return new NetworkError({
		where,
		what: `the proxy does not let through (${status})`,
		remedy: "Name this host in NO_PROXY if it can be reached without",
	});
}

function gated(
	where: string,
	{ repository }: Subject,
	hasToken: boolean,
): NetworkError {
	return new NetworkError({
		where,
		what: hasToken
			? "the repository is gated, and the account of the token has no access yet"
			: "the repository is gated, and no token is set",
		remedy: `Accept its licence on the page of ${repository}${hasToken ? "" : ", set HF_TOKEN to a token of that account"}, then run the same command again`,
	});
}

/** The Hub tells nobody which repositories are private: 401 and 404 both may mean that. */
function missing(where: string, status: number, hasToken: boolean): UsageError {
	return new UsageError({
		where,
		what: `no such repository on the Hub, or a private one (${status}), and no such folder here`,
		remedy: hasToken
			? "Check its name, and that the token (HF_TOKEN) is valid and may read it"
			: "Check its name; for a private one set HF_TOKEN",
	});
}
