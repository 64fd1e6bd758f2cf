import { createServer, type IncomingMessage, request } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** What a proxy was asked for. */
export interface ProxiedRequest {
	/** a connection of its own, or an answer */
	kind: "tunnel" | "forward";
	/** `host:port`, or the whole address */
	target: string;
	authorization: string | null;
}

export interface LocalProxy {
	/** `http://127.0.0.1:…` */
	address: string;
	requests: ProxiedRequest[];
	/** What it answers, in turn, instead of letting through. */
	refusals: number[];
}

/**
 * A proxy on this machine that lets everything through; it goes away with the test.
 *
 * @param credentials  `user:password`, without which it answers 407
 */
export async function openProxy(credentials?: string): Promise<LocalProxy> {
	const proxy: LocalProxy = { address: "", requests: [], refusals: [] };
	const wanted =
		credentials && `Basic ${Buffer.from(credentials).toString("base64")}`;
	/** @returns the status to refuse with, or null */
	const judge = (
		{ headers, url = "" }: IncomingMessage,
		kind: ProxiedRequest["kind"],
	) => {
		const authorization = headers["proxy-authorization"] ?? null;
		proxy.requests.push({ kind, target: url, authorization });
		if (wanted && authorization !== wanted) return 407;
		return proxy.refusals.shift() ?? null;
	};
	const server = createServer((asked, answer) => {
		const refused = judge(asked, "forward");
		if (refused !== null) {
			answer.writeHead(refused).end();
			return;
		}
		const { method, headers } = asked;
		const onward = request(asked.url ?? "", { method, headers }, (found) => {
			answer.writeHead(found.statusCode ?? 500, found.rawHeaders);
			found.pipe(answer);
		});
		asked.pipe(onward.on("error", () => answer.destroy()));
	});
	const sockets = new Set<Socket>();
	server.on("connect", (asked, socket: Socket) => {
		sockets.add(socket.on("error", () => {}));
		const refused = judge(asked, "tunnel");
		if (refused !== null) {
			socket.end(`HTTP/1.1 ${refused} Refused\r\n\r\n`);
			return;
		}
		const { hostname, port } = new URL(`http://${asked.url}`);
		const onward = connect(Number(port), hostname, () => {
			socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
			socket.pipe(onward).pipe(socket);
		});
		sockets.add(onward.on("error", () => socket.destroy()) as Socket);
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	proxy.address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
	onTestFinished(() => {
		for (const socket of sockets) socket.destroy();
		server.closeAllConnections();
		server.close();
	});
	return proxy;
}
