import { readFile } from "node:fs/promises";
import { type AddressInfo, connect } from "node:net";
import { createServer, type TLSSocket, type TlsOptions } from "node:tls";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import type { LocalHub } from "./local-hub.ts";

export type Certificate = "good" | "other-host" | "expired" | "self-signed";

const pathOf = (name: string) =>
	fileURLToPath(new URL(`certificates/${name}`, import.meta.url));

/** Of the authority that has signed all but the self-signed one. */
export const AUTHORITY = pathOf("authority.pem");

/** From now on a hub and its store speak TLS, with a certificate of `certificates/`. */
export async function putBehindTls(
	hub: LocalHub,
	certificate: Certificate = "good",
	options: TlsOptions = {},
): Promise<void> {
	const cert = await readFile(pathOf(`${certificate}.pem`));
	const key = await readFile(pathOf("server.key"));
	for (const origin of ["endpoint", "cdn"] as const) {
		const { hostname, port } = new URL(hub[origin]);
		const sockets = new Set<TLSSocket>();
		const server = createServer({ cert, key, ...options }, (socket) => {
			const onward = connect(Number(port), "127.0.0.1");
			sockets.add(socket.on("error", () => onward.destroy()));
			onward.on("error", () => socket.destroy());
			socket.pipe(onward).pipe(socket);
		});
		server.on("tlsClientError", () => {});
		await new Promise<void>((resolve) =>
			server.listen(0, "127.0.0.1", resolve),
		);
		hub[origin] =
			`https://${hostname}:${(server.address() as AddressInfo).port}`;
		onTestFinished(() => {
			for (const socket of sockets) socket.destroy();
			server.close();
		});
	}
}
