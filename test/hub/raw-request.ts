import { connect, type Socket } from "node:net";

/** An exchange on a connection of its own, seen as it comes off the wire. */
export class RawRequest {
	private readonly socket: Socket;
	private readonly packets: Buffer[] = [];
	private wake = () => {};
	/** how the hub ended the connection, null while it has not */
	ended: "fin" | "reset" | null = null;

	constructor(
		address: string,
		headers: Record<string, string> = {},
		method = "GET",
	) {
		const url = new URL(address);
		this.socket = connect(Number(url.port), url.hostname);
		const fields = { Host: url.host, Connection: "close", ...headers };
		const lines = Object.entries(fields).map(([k, v]) => `${k}: ${v}\r\n`);
		this.socket.write(
			`${method} ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join("")}\r\n`,
		);
		this.socket.on("data", (packet) => {
			this.packets.push(packet);
			this.wake();
		});
		this.socket.on("end", () => this.end("fin"));
		this.socket.on("error", () => this.end("reset"));
	}

	/** Wait for a condition, which is tried whenever something has come. */
	async until(condition: () => boolean): Promise<this> {
		while (!condition())
			await new Promise<void>((resolve) => {
				this.wake = resolve;
			});
		return this;
	}

	/** Wait until the hub has ended the connection. */
	async whole(): Promise<this> {
		return await this.until(() => this.ended !== null);
	}

	get received(): Buffer {
		return Buffer.concat(this.packets);
	}

	get packetCount(): number {
		return this.packets.length;
	}

	get status(): number {
		return Number(/^HTTP\/1\.1 (\d{3}) /.exec(this.head)?.[1]);
	}

	/** Everything after the headers, as it is framed. */
	get body(): Buffer {
		return this.received.subarray(this.head.length + 4);
	}

	/** Each value of a header; none where it is absent. */
	header(name: string): string[] {
		return this.head
			.split("\r\n")
			.filter((line) => line.toLowerCase().startsWith(`${name}: `))
			.map((line) => line.slice(name.length + 2));
	}

	close(): void {
		this.socket.destroy();
	}

	private get head(): string {
		return this.received.toString("latin1").split("\r\n\r\n")[0] ?? "";
	}

	private end(how: "fin" | "reset"): void {
		this.ended ??= how;
		this.wake();
	}
}
