import { readFile } from "node:fs/promises";
import { describe, expect, test, vi } from "vitest";
import { NetworkError, UsageError } from "../../src/errors.ts";
import { Connections } from "../../src/hub/connections.ts";
import { readProxies } from "../../src/hub/proxies.ts";
import { readRange } from "../../src/hub/read-range.ts";
import { resolveCommit } from "../../src/hub/repository.ts";
import { gathered, listed, MODEL, openHub, settingsFor } from "./open-hub.ts";
import { openProxy } from "./proxy.ts";
import { AUTHORITY, putBehindTls } from "./tls-front.ts";

vi.setConfig({ testTimeout: 30_000 });

const FILES = { "config.json": "{}", "model.safetensors": "weights" };
const REPOSITORY = { name: MODEL, revision: null };
const SECRET = "s3cret%21";

const open = () => openHub({ repos: { [MODEL]: { files: FILES } } });

describe("case 197: which proxy the environment names", () => {
	const proxy = (origin: string, variable: string) => ({
		...{ origin, variable, authorization: null },
	});
	test.each<[string, Record<string, string>, unknown, unknown]>([
		["none", {}, null, null],
		[
			"one for each kind",
			{ http_proxy: "http://a:1", https_proxy: "http://b:2" },
			proxy("http://a:1", "http_proxy"),
			proxy("http://b:2", "https_proxy"),
		],
		[
			"one kind alone",
			{ HTTP_PROXY: "http://a:1" },
			proxy("http://a:1", "HTTP_PROXY"),
			null,
		],
		[
			"lower case first",
			{ HTTPS_PROXY: "http://a:1", https_proxy: "http://b:2" },
			null,
			proxy("http://b:2", "https_proxy"),
		],
		[
			"all the rest",
			{ ALL_PROXY: "http://a:1", HTTPS_PROXY: "https://b:2" },
			proxy("http://a:1", "ALL_PROXY"),
			proxy("https://b:2", "HTTPS_PROXY"),
		],
		[
			"an empty one",
			{ https_proxy: "", HTTPS_PROXY: "http://a:1" },
			null,
			null,
		],
		[
			"without a scheme",
			{ https_proxy: " proxy.example:3128 " },
			null,
			proxy("http://proxy.example:3128", "https_proxy"),
		],
	])("%s", (_, env, http, https) => {
		expect(readProxies(env)).toEqual({ http, https, exceptions: "" });
	});

	test("user and password are kept apart, decoded", () => {
		const { https } = readProxies({ HTTPS_PROXY: "http://me:a%40b@p:1" });
		expect(https).toEqual({
			origin: "http://p:1",
			variable: "HTTPS_PROXY",
			authorization: `Basic ${btoa("me:a@b")}`,
		});
	});

	test.each([
		"socks5://u:s3cret@p:1",
		"ftp://u:s3cret@p",
		"http://u:s3cret@:x",
	])("%s is refused and its password not shown", (HTTPS_PROXY) => {
		const read = () => readProxies({ HTTPS_PROXY });
		expect(read).toThrow(UsageError);
		expect(read).toThrow(/^HTTPS_PROXY: not the address of a proxy/);
		expect(read).not.toThrow(/s3cret/);
	});
});

describe("case 197: by way of a proxy", () => {
	test("http is asked of the proxy itself", async () => {
		const hub = await open();
		const proxy = await openProxy();
		const env = { HTTP_PROXY: proxy.address };
		const settings = await settingsFor(hub, {}, env);
		const file = await listed(hub, await settingsFor(hub), "config.json");
		const bytes = await gathered(readRange(settings, file, 0, 2));
		expect(bytes.toString()).toBe("{}");
		expect(proxy.requests).toEqual([
			{
				...{ kind: "forward", authorization: null },
				target: `${hub.endpoint}/${MODEL}/resolve/${file.commit}/config.json`,
			},
		]);
	});

	test("https goes through a tunnel, with user and password for the proxy alone", async () => {
		const hub = await open();
		await putBehindTls(hub);
		const proxy = await openProxy("me:s3cret!");
		const HTTPS_PROXY = proxy.address.replace("//", `//me:${SECRET}@`);
		const ca = await readFile(AUTHORITY);
		const settings = {
			...(await settingsFor(hub)),
			connections: new Connections(readProxies({ HTTPS_PROXY }), { ca }),
		};
		const file = await listed(hub, settings, "model.safetensors");
		const bytes = await gathered(readRange(settings, file, 0, 7));
		expect(bytes.toString()).toBe("weights");
		const targets = proxy.requests.map(({ target }) => `https://${target}`);
		expect(new Set(targets)).toEqual(new Set([hub.endpoint, hub.cdn]));
		expect(proxy.requests.every(({ kind }) => kind === "tunnel")).toBe(true);
		for (const { headers } of hub.requests)
			expect(headers).not.toHaveProperty("proxy-authorization");
	});

	test.each([
		["all", "*"],
		["the host", "127.0.0.1"],
		["the host and another port", "x.example, 127.0.0.1:1", 1],
	])("NO_PROXY names %s", async (_, NO_PROXY, asked = 0) => {
		const hub = await open();
		const proxy = await openProxy();
		const env = { HTTP_PROXY: proxy.address, NO_PROXY };
		const settings = await settingsFor(hub, {}, env);
		expect(await resolveCommit(settings, REPOSITORY)).toBe(hub.commitOf(MODEL));
		expect(proxy.requests).toHaveLength(asked);
	});

	test("what is for https alone leaves http alone", async () => {
		const hub = await open();
		const proxy = await openProxy();
		const settings = await settingsFor(hub, {}, { HTTPS_PROXY: proxy.address });
		await resolveCommit(settings, REPOSITORY);
		expect(proxy.requests).toEqual([]);
	});
});

describe.each(["http", "https"])("case 197: a proxy for %s that", (scheme) => {
	async function through(proxyAddress: string) {
		const hub = await open();
		if (scheme === "https") await putBehindTls(hub);
		const env = { [`${scheme}_proxy`]: proxyAddress };
		const ca = await readFile(AUTHORITY);
		const settings = {
			...(await settingsFor(hub)),
			connections: new Connections(readProxies(env), { ca }),
		};
		const outcome = await resolveCommit(settings, REPOSITORY).catch((e) => e);
		return { hub, outcome };
	}

	test("wants a password says so, once (407)", async () => {
		const proxy = await openProxy("me:other");
		const address = proxy.address.replace("//", "//me:s3cret@");
		const { outcome } = await through(address);
		expect(outcome).toBeInstanceOf(NetworkError);
		expect(outcome.message).toMatch(
			/the proxy wants a user and a password, or others \(407\)\. Write them/,
		);
		expect(outcome.message).not.toMatch(/s3cret|Basic/);
		expect(proxy.requests).toHaveLength(1);
	});

	test("fails for a while is tried again (502, 503)", async () => {
		const proxy = await openProxy();
		proxy.refusals.push(502, 503);
		const { hub, outcome } = await through(proxy.address);
		expect(outcome).toBe(hub.commitOf(MODEL));
		expect(proxy.requests).toHaveLength(3);
	});

	test("forbids is not asked again (403)", async () => {
		const proxy = await openProxy();
		proxy.refusals.push(403);
		const { outcome } = await through(proxy.address);
		expect(outcome).toBeInstanceOf(NetworkError);
		expect(outcome.message).toContain("(403)");
		expect(proxy.requests).toHaveLength(1);
	});

	test("is not there is named", async () => {
		const { outcome } = await through("http://me:s3cret@127.0.0.1:1");
		expect(outcome).toBeInstanceOf(NetworkError);
		expect(outcome.message).toMatch(
			/ECONNREFUSED.*\(tried 6 times\)\. Can the proxy http:\/\/127\.0\.0\.1:1 be reached, which https?_proxy names\?/,
		);
		expect(outcome.message).not.toContain("s3cret");
	});
});
