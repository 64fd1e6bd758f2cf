import { type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { Writable } from "node:stream";
import { setImmediate, setTimeout } from "node:timers/promises";
import type { WireFault } from "./faults.ts";
import type { Reply } from "./reply.ts";
import { bytesOf } from "./stored-bytes.ts";

/** Send an answer as it is. */
export async function send(
	response: ServerResponse,
	reply: Reply,
	isHead: boolean,
): Promise<void> {
	response.writeHead(reply.status, reply.headers);
	if (!isHead)
		for await (const piece of reply.body.read(0, reply.body.byteLength)) {
			if (response.destroyed) return;
			await put(response, piece);
		}
	response.end();
}

/**
 * Send an answer with a fault on the way, by hand, on a connection that is not used again. What a reset finds in the
 * system's own buffers is lost: a reader that keeps up gets every byte before it.
 */
export async function sendBroken(
	socket: Socket,
	reply: Reply,
	fault: WireFault,
	isHead: boolean,
): Promise<void> {
	const whole = isHead ? { ...reply, body: bytesOf("") } : reply;
	switch (fault.kind) {
		case "black-hole":
			return;
		case "stall":
			await putHead(socket, whole);
			return await putBody(socket, whole, fault.afterBytes);
		case "reset":
			await putUntil(socket, whole, fault.afterBytes, "length");
			await flushed(socket);
			socket.resetAndDestroy();
			return;
		case "fin":
			await putUntil(socket, whole, fault.afterBytes, fault.framing);
			break;
		case "excess":
			await putExcess(socket, whole, fault.bytes, fault.declared === true);
			break;
		case "packets":
			await putHead(socket, whole);
			await putPackets(socket, whole, fault.bytes, fault.everyMs);
			break;
		case "oversize-headers":
			await putHead(socket, whole, { "X-Padding": "x".repeat(fault.bytes) });
			await putBody(socket, whole);
	}
	socket.end();
}

/** Send an answer by hand whose headers no server would let pass. */
export async function sendRaw(
	socket: Socket,
	reply: Reply,
	isHead: boolean,
): Promise<void> {
	await putHead(socket, reply, { Connection: "close" });
	if (!isHead) await putBody(socket, reply);
	socket.end();
}

/** Write and wait until there is room for more, or nobody who wants it. */
async function put(
	stream: Writable,
	bytes: Uint8Array | string,
): Promise<void> {
	if (stream.destroyed || stream.write(bytes)) return;
	await new Promise<void>((resolve) => {
		const done = () => {
			stream.off("drain", done).off("close", done);
			resolve();
		};
		stream.on("drain", done).on("close", done);
	});
}

/** Wait until the system has all that was written. */
async function flushed(socket: Socket): Promise<void> {
	if (socket.destroyed) return;
	await new Promise<void>((resolve) => socket.write("", () => resolve()));
}

/** @param changes headers to add, or to leave out where null */
async function putHead(
	socket: Socket,
	reply: Reply,
	changes: Record<string, string | null> = {},
): Promise<void> {
	const lines = [`HTTP/1.1 ${reply.status} ${STATUS_CODES[reply.status]}`];
	for (const [name, value] of Object.entries({ ...reply.headers, ...changes }))
		for (const one of [value ?? []].flat()) lines.push(`${name}: ${one}`);
	await put(socket, `${lines.join("\r\n")}\r\n\r\n`);
}

async function putBody(
	socket: Socket,
	{ body }: Reply,
	limit = body.byteLength,
): Promise<void> {
	const end = Math.min(limit, body.byteLength);
	for await (const piece of body.read(0, end)) {
		if (socket.destroyed) return;
		await put(socket, piece);
	}
}

/** The head and the body up to a byte; nothing where there is none. */
async function putUntil(
	socket: Socket,
	reply: Reply,
	limit: number | undefined,
	framing: "length" | "close" | "chunked" = "length",
): Promise<void> {
	if (limit === undefined) return;
	if (framing === "length") {
		await putHead(socket, reply);
		return await putBody(socket, reply, limit);
	}
	const { body } = reply;
	if (framing === "close") {
		await putHead(socket, reply, {
			"Content-Length": null,
			Connection: "close",
		});
		return await putBody(socket, reply, limit);
	}
	const chunked = { "Content-Length": null, "Transfer-Encoding": "chunked" };
	await putHead(socket, reply, chunked);
	for await (const piece of body.read(0, Math.min(limit, body.byteLength))) {
		await put(socket, `${piece.byteLength.toString(16)}\r\n`);
		await put(socket, piece);
		await put(socket, "\r\n");
	}
}

async function putExcess(
	socket: Socket,
	reply: Reply,
	bytes: number,
	declared: boolean,
): Promise<void> {
	const length = String(reply.body.byteLength + bytes);
	await putHead(socket, reply, declared ? { "Content-Length": length } : {});
	await putBody(socket, reply);
	await put(socket, new Uint8Array(bytes));
}

async function putPackets(
	socket: Socket,
	{ body }: Reply,
	bytes: number,
	everyMs?: number,
): Promise<void> {
	socket.setNoDelay(true);
	for await (const piece of body.read(0, body.byteLength))
		for (let at = 0; at < piece.byteLength; at += bytes) {
			if (socket.destroyed) return;
			await put(socket, piece.subarray(at, at + bytes));
			if (everyMs === undefined) await setImmediate();
			else await setTimeout(everyMs, undefined, { ref: false });
		}
}
