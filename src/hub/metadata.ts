import { NetworkError } from "../errors.ts";
import { describeSubject, type Subject } from "./refusal.ts";
import { ask } from "./request.ts";
import { PassingFailure, Patience } from "./retry.ts";
import type { HubSettings } from "./settings.ts";

/** More than the longest answer about a repository. */
const MAX_ANSWER_BYTES = 2 ** 26;

/**
 * A `fetch` for @huggingface/hub that is as careful as ours: whole answers of JSON, tried again, with the token
 * only where it belongs, and with errors that say what to do.
 */
export function metadataFetch(
	settings: HubSettings,
	subject: Subject,
	signal?: AbortSignal,
): typeof fetch {
	return async (input, init) => {
		const patience = new Patience(settings, signal);
		const url = input instanceof Request ? input.url : String(input);
		for (;;)
			try {
				return await readAnswer(settings, subject, url, init, signal);
			} catch (error) {
				await patience.after(error);
			}
	};
}

async function readAnswer(
	settings: HubSettings,
	subject: Subject,
	url: string,
	init: RequestInit | undefined,
	signal: AbortSignal | undefined,
): Promise<Response> {
	const { metadataTimeoutMs: timeoutMs } = settings;
	const { authorization: _, ...headers } = Object.fromEntries(
		new Headers(init?.headers).entries(),
	);
	const answer = await ask(settings, {
		...{ url, subject, headers, timeoutMs, signal },
		...(init?.method === undefined ? {} : { method: init.method }),
		...(typeof init?.body === "string" ? { body: init.body } : {}),
	});
	try {
		const { status, headers } = answer.response;
		const pieces: Uint8Array[] = [];
		let byteLength = 0;
		for (;;) {
			const bytes = await answer.read(timeoutMs);
			if (bytes === null) break;
			byteLength += bytes.length;
			if (byteLength > MAX_ANSWER_BYTES)
				throw notUnderstood(subject, `more than ${MAX_ANSWER_BYTES} bytes`);
			pieces.push(bytes);
		}
		const body = Buffer.concat(pieces);
		checkJson(body, subject);
		return new Response(body, { status, headers });
	} finally {
		answer.close();
	}
}

/** @throws {PassingFailure} a page of a proxy or of a Hub out of order, instead of JSON */
function checkJson(body: Buffer, subject: Subject): void {
	try {
		JSON.parse(body.toString("utf8"));
	} catch {
		throw new PassingFailure({
			where: describeSubject(subject),
			what: "the Hub's answer is no JSON",
		});
	}
}

/** The error of an answer that can be read but makes no sense. */
export function notUnderstood(subject: Subject, what: string): NetworkError {
	return new NetworkError({
		where: describeSubject(subject),
		what: `the Hub's answer is not understood: ${what}`,
		remedy: "Is HF_ENDPOINT the Hub you mean?",
	});
}
