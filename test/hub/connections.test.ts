import { readFile } from "node:fs/promises";
import type { LookupFunction } from "node:net";
import type { TlsOptions } from "node:tls";
import { describe, expect, test, vi } from "vitest";
import { NetworkError } from "../../src/errors.ts";
import { Connections } from "../../src/hub/connections.ts";
import { resolveCommit } from "../../src/hub/repository.ts";
import type { HubSettings } from "../../src/hub/settings.ts";
import { MODEL, openHub, settingsFor } from "./open-hub.ts";
import { AUTHORITY, type Certificate, putBehindTls } from "./tls-front.ts";

vi.setConfig({ testTimeout: 30_000 });

type SocketOptions = ConstructorParameters<typeof Connections>[1];

const REPOSITORY = { name: MODEL, revision: null };
const DIRECT = { http: null, https: null, exceptions: "" };

const open = () => openHub({ repos: { [MODEL]: { files: { a: "b" } } } });

async function resolveAt(
	endpoint: string,
	options: SocketOptions,
	more: Partial<HubSettings> = {},
) {
	const settings = {
		...(await settingsFor({ endpoint })),
		...{ connections: new Connections(DIRECT, options), ...more },
	};
	return resolveCommit(settings, REPOSITORY).catch((error) => error);
}

describe("case 173: TLS", () => {
	async function overTls(
		certificate: Certificate,
		options: TlsOptions = {},
		trusted = true,
	) {
		const hub = await open();
		await putBehindTls(hub, certificate, options);
		const ca = trusted ? await readFile(AUTHORITY) : undefined;
		const settings = {
			...(await settingsFor(hub)),
			connections: new Connections(DIRECT, ca === undefined ? {} : { ca }),
		};
		const outcome = await resolveCommit(settings, REPOSITORY).catch((e) => e);
		return { hub, outcome };
	}

	test("a certificate of a known authority is taken", async () => {
		const { hub, outcome } = await overTls("good");
		expect(outcome).toBe(hub.commitOf(MODEL));
	});

	test.each<[string, Certificate, string, TlsOptions?, boolean?]>([
		["whose certificate has expired", "expired", "CERT_HAS_EXPIRED"],
		[
			"with the certificate of another host",
			"other-host",
			"ERR_TLS_CERT_ALTNAME_INVALID",
		],
		[
			"with a certificate that nobody has signed",
			"self-signed",
			"DEPTH_ZERO_SELF_SIGNED_CERT",
		],
		[
			"with a certificate of an unknown authority",
			...(["good", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", {}, false] as const),
		],
		[
			"whose protocol is too old",
			...(["good", "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION"] as const),
			{ minVersion: "TLSv1", maxVersion: "TLSv1.1" },
		],
	])("a server %s is refused, and not asked again", async (...row) => {
		const [, certificate, code, options, trusted] = row;
		const { hub, outcome } = await overTls(certificate, options, trusted);
		expect(outcome).toBeInstanceOf(NetworkError);
		expect(outcome.message).toContain(`no safe connection (${code})`);
		expect(outcome.message).toContain("NODE_EXTRA_CA_CERTS");
		expect(outcome.message).not.toContain("tried");
		expect(hub.requests).toEqual([]);
	});

	test("a server that speaks none is refused, and not asked again", async () => {
		const hub = await open();
		const endpoint = hub.endpoint.replace("http:", "https:");
		const outcome = await resolveAt(endpoint, {});
		expect(outcome).toBeInstanceOf(NetworkError);
		expect(outcome.message).toMatch(/no safe connection \((ERR_SSL|EPROTO)/);
		expect(outcome.message).not.toContain("tried");
	});
});

describe("case 172: no way to the server", () => {
	test.each(["ENOTFOUND", "EAI_AGAIN"])("its name: %s", async (code) => {
		const lookup: LookupFunction = (name, _, callback) =>
			callback(Object.assign(new Error(`no ${name}`), { code }), "", 0);
		const outcome = await resolveAt("http://hub.example", { lookup });
		expect(outcome).toBeInstanceOf(NetworkError);
		expect(outcome.message).toContain(
			`the server's name is not known (${code}) (tried 6 times)`,
		);
	});

	// Linux says so of every address that TCP cannot reach in principle, as that of all machines.
	test.skipIf(process.platform !== "linux")(
		"its address: unreachable",
		async () => {
			const outcome = await resolveAt("http://hub.example", {
				lookup: nameOf("255.255.255.255"),
			});
			expect(outcome).toBeInstanceOf(NetworkError);
			expect(outcome.message).toContain(
				"the connection failed (ENETUNREACH) (tried 6 times)",
			);
		},
	);
});

test("case 174: a connection that is never made", async () => {
	const outcome = await resolveAt(
		"http://hub.example",
		{ lookup: () => {} },
		{ metadataTimeoutMs: 10 },
	);
	expect(outcome).toBeInstanceOf(NetworkError);
	expect(outcome.message).toContain("no answer within 0.01 s (tried 6 times)");
});

describe("case 200: a host of several addresses, of which the first", () => {
	test("refuses: the next is taken", async () => {
		const hub = await open();
		const { port } = new URL(hub.endpoint);
		const outcome = await resolveAt(`http://hub.example:${port}`, {
			lookup: nameOf("::1", "127.0.0.1"),
		});
		expect(outcome).toBe(hub.commitOf(MODEL));
	});

	test("never answers: the next is taken", async () => {
		const hub = await open();
		const { port } = new URL(hub.endpoint);
		const outcome = await resolveAt(`http://hub.example:${port}`, {
			autoSelectFamilyAttemptTimeout: 10,
			lookup: nameOf("100::1", "127.0.0.1"), // a network that swallows all (RFC 6666)
		});
		expect(outcome).toBe(hub.commitOf(MODEL));
	});
});

/** A lookup that gives these addresses for every name. */
function nameOf(...addresses: string[]): LookupFunction {
	const all = addresses.map((address) => ({
		...{ address, family: address.includes(":") ? 6 : 4 },
	}));
	return (_, options, callback) =>
		options.all
			? callback(null, all)
			: callback(null, all[0]?.address ?? "", all[0]?.family ?? 0);
}
