import { gzipSync } from "node:zlib";
import type { AnswerFault, HeaderChange } from "./faults.ts";
import { jsonReply, type Reply, textReply } from "./reply.ts";
import { expiredUrl } from "./signed-urls.ts";
import { bytesOf, gather, type StoredBytes, sliceOf } from "./stored-bytes.ts";

const PAGE =
	"<!doctype html><title>Sign in</title><p>Sign in to this network</p>";

/**
 * The answer with a fault in it.
 *
 * @param url whole, of the request
 * @throws {Error} where the fault needs a file and the answer is none
 */
export async function distort(
	reply: Reply,
	fault: AnswerFault,
	url: string,
): Promise<Reply> {
	switch (fault.kind) {
		case "pass":
			return reply;
		case "status":
			return failed(fault.status, fault.headers ?? {}, fault.body);
		case "rate-limited":
			return rateLimited(fault.retryAfter, fault.seconds);
		case "headers":
			return withHeaders(reply, fault.set);
		case "mirror":
			return withHeaders(reply, MIRROR);
		case "ignore-range":
			return wholeFile(reply);
		case "other-range":
			return otherRange(reply, fault.shift, fault.lying === true);
		case "multipart":
			return multipart(reply);
		case "range-not-satisfiable":
			return notSatisfiable(reply, fault.contentRange);
		case "gzip":
			return gzipped(reply, fault.keep);
		case "bit-flip":
			return { ...reply, body: flipped(reply, fault.at) };
		case "html":
			return page(reply, fault.sameLength === true);
		case "redirect":
			return failed(fault.status ?? 302, { Location: fault.to ?? url }, "");
		case "expired-url":
			return expiredUrl();
		case "truncate":
			return withBody(reply, sliceOf(reply.body, 0, fault.bytes));
	}
}

const MIRROR = {
	"X-Linked-ETag": null,
	"X-Linked-Size": null,
	"X-Repo-Commit": null,
	"X-Xet-Hash": null,
	Link: null,
};

function failed(
	status: number,
	headers: Record<string, string>,
	body?: string,
): Reply {
	const reply =
		body === undefined
			? jsonReply({ error: `status ${status}` }, status)
			: textReply(body, status);
	Object.assign(reply.headers, headers);
	return reply;
}

function rateLimited(retryAfter?: string, seconds?: number): Reply {
	return failed(429, {
		"X-Error-Message": "We had to rate limit your IP",
		...(retryAfter !== undefined && { "Retry-After": retryAfter }),
		...(seconds !== undefined && {
			RateLimit: `"resolvers";r=0;t=${seconds}`,
			"RateLimit-Policy": '"fixed window";"resolvers";q=3000;w=300',
		}),
	});
}

function withHeaders(reply: Reply, set: Record<string, HeaderChange>): Reply {
	const headers = { ...reply.headers };
	for (const [asked, change] of Object.entries(set)) {
		const same = (name: string) => name.toLowerCase() === asked.toLowerCase();
		const name = Object.keys(headers).find(same) ?? asked;
		if (change === null) delete headers[name];
		else if (typeof change === "function")
			headers[name] = change(String(headers[name]));
		else headers[name] = change;
	}
	return { ...reply, headers };
}

function withBody(reply: Reply, body: StoredBytes): Reply {
	const length = { "Content-Length": String(body.byteLength) };
	return { ...reply, headers: { ...reply.headers, ...length }, body };
}

function fileOf(reply: Reply): NonNullable<Reply["of"]> {
	if (reply.of === undefined)
		throw new Error(`this fault needs a file; the answer was ${reply.status}`);
	return reply.of;
}

function wholeFile(reply: Reply): Reply {
	const whole = withBody(reply, fileOf(reply).file);
	return withHeaders({ ...whole, status: 200 }, { "Content-Range": null });
}

function otherRange(reply: Reply, shift: number, lying: boolean): Reply {
	const { file, begin, end } = fileOf(reply);
	const size = file.byteLength;
	const from = Math.max(0, Math.min(size, begin + shift));
	const to = Math.max(from, Math.min(size, end + shift));
	const moved = withBody({ ...reply, status: 206 }, sliceOf(file, from, to));
	const said = lying ? `${begin}-${end - 1}` : `${from}-${to - 1}`;
	return withHeaders(moved, { "Content-Range": `bytes ${said}/${size}` });
}

async function multipart(reply: Reply): Promise<Reply> {
	const { file, begin, end } = fileOf(reply);
	const head = `--part\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes ${begin}-${end - 1}/${file.byteLength}\r\n\r\n`;
	const body = Buffer.concat([
		Buffer.from(head),
		await gather(reply.body),
		Buffer.from("\r\n--part--\r\n"),
	]);
	return withHeaders(withBody({ ...reply, status: 206 }, bytesOf(body)), {
		"Content-Range": null,
		"Content-Type": "multipart/byteranges; boundary=part",
	});
}

function notSatisfiable(reply: Reply, contentRange?: string | null): Reply {
	const size = fileOf(reply).file.byteLength;
	const said = contentRange === undefined ? `bytes */${size}` : contentRange;
	return withHeaders(textReply("Requested Range Not Satisfiable", 416), {
		"Content-Range": said,
	});
}

async function gzipped(reply: Reply, keep?: number): Promise<Reply> {
	const packed = gzipSync(await gather(reply.body)).subarray(0, keep);
	const coding = { "Content-Encoding": "gzip" };
	return withHeaders(withBody(reply, bytesOf(packed)), coding);
}

function flipped(reply: Reply, at: number): StoredBytes {
	const index = at - fileOf(reply).begin;
	return {
		byteLength: reply.body.byteLength,
		async *read(begin, end) {
			let passed = begin;
			for await (const piece of reply.body.read(begin, end)) {
				const copy = Uint8Array.from(piece);
				const right = copy[index - passed];
				if (right !== undefined) copy[index - passed] = right ^ 1;
				passed += piece.byteLength;
				yield copy;
			}
		},
	};
}

function page(reply: Reply, sameLength: boolean): Reply {
	const html = sameLength
		? PAGE.padEnd(reply.body.byteLength).slice(0, reply.body.byteLength)
		: PAGE;
	return textReply(html, 200, "text/html; charset=utf-8");
}
