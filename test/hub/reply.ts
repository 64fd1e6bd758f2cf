import type { IncomingMessage } from "node:http";
import { bytesOf, type StoredBytes, sliceOf } from "./stored-bytes.ts";

/** An answer before it is on the wire. */
export interface Reply {
	status: number;
	/** by name; several values are several lines */
	headers: Record<string, string | string[]>;
	body: StoredBytes;
	/** where the body is of a file: that file, and what of it `[begin, end)` */
	of?: { file: StoredBytes; begin: number; end: number };
}

/** What the hub refuses a request with. */
export class Refusal extends Error {
	readonly status: number;
	/** for `X-Error-Code` */
	readonly code: string | null;
	readonly headers: Record<string, string>;

	constructor(
		status: number,
		code: string | null,
		message: string,
		headers: Record<string, string> = {},
	) {
		super(message);
		this.status = status;
		this.code = code;
		this.headers = headers;
	}

	toReply(): Reply {
		const reply = jsonReply({ error: this.message }, this.status);
		Object.assign(reply.headers, this.headers);
		reply.headers["X-Error-Message"] = this.message;
		if (this.code !== null) reply.headers["X-Error-Code"] = this.code;
		return reply;
	}
}

export function textReply(
	text: string,
	status = 200,
	type = "text/plain; charset=utf-8",
): Reply {
	const body = bytesOf(text);
	return {
		status,
		headers: {
			"Content-Type": type,
			"Content-Length": String(body.byteLength),
		},
		body,
	};
}

export function jsonReply(value: unknown, status = 200): Reply {
	const type = "application/json; charset=utf-8";
	return textReply(JSON.stringify(value), status, type);
}

/**
 * A file, or the range of it that is asked for: 200, 206, 412 or 416, as RFC 9110 has it. Several ranges at once get
 * the whole file, as object stores do.
 *
 * @param etag with its quotes
 */
export function fileReply(
	request: IncomingMessage,
	file: StoredBytes,
	etag: string,
): Reply {
	const size = file.byteLength;
	const headers = {
		ETag: etag,
		"Accept-Ranges": "bytes",
		"Content-Type": "application/octet-stream",
	};
	const ifMatch = request.headers["if-match"];
	if (ifMatch !== undefined && ifMatch !== "*" && ifMatch !== etag)
		return {
			...textReply("", 412),
			headers: { ...headers, "Content-Length": "0" },
		};
	const range = askedRange(request, size, etag);
	if (range === "unsatisfiable") {
		const reply = textReply("Requested Range Not Satisfiable", 416);
		Object.assign(reply.headers, {
			ETag: etag,
			"Content-Range": `bytes */${size}`,
		});
		return { ...reply, of: { file, begin: 0, end: 0 } };
	}
	const { begin, end } = range ?? { begin: 0, end: size };
	return {
		status: range === null ? 200 : 206,
		headers: {
			...headers,
			"Content-Length": String(end - begin),
			...(range !== null && {
				"Content-Range": `bytes ${begin}-${end - 1}/${size}`,
			}),
		},
		body: sliceOf(file, begin, end),
		of: { file, begin, end },
	};
}

/** The range `[begin, end)` that a request asks of a file, null where it asks none that counts. */
function askedRange(
	request: IncomingMessage,
	size: number,
	etag: string,
): { begin: number; end: number } | "unsatisfiable" | null {
	const ifRange = request.headers["if-range"];
	if (ifRange !== undefined && ifRange !== etag) return null;
	const asked = /^bytes=(\d*)-(\d*)$/.exec(request.headers.range ?? "");
	if (asked === null) return null;
	const [, first = "", last = ""] = asked;
	if (first === "" && last === "") return null;
	if (first !== "" && last !== "" && Number(last) < Number(first)) return null;
	const begin = first === "" ? Math.max(0, size - Number(last)) : Number(first);
	const end =
		first === "" || last === "" ? size : Math.min(size, Number(last) + 1);
	return begin >= end ? "unsatisfiable" : { begin, end };
}
