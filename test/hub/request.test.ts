import { Readable } from "node:stream";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { NetworkError, UsageError } from "../../src/errors.ts";
import { isPrivateHost } from "../../src/hub/address.ts";
import { Connections } from "../../src/hub/connections.ts";
import { listRemoteFiles, resolveCommit } from "../../src/hub/repository.ts";
import { ask } from "../../src/hub/request.ts";
import { PassingFailure } from "../../src/hub/retry.ts";
import { MODEL, openHub, settingsFor } from "./open-hub.ts";

vi.setConfig({ testTimeout: 30_000 });

const FILES = { "config.json": "{}", "model.safetensors": "weights" };
const SUBJECT = { repository: MODEL, revision: null };
const REPOSITORY = { name: MODEL, revision: null };
const SECRET = "hf_secret";

/** Let every address answer as `answers` tells, and note which was asked with which token. */
function answerBy(
	answers: Record<string, { status: number; location: string }>,
) {
	const asked: [url: string, authorization: string | null][] = [];
	const stub = vi
		.spyOn(Connections.prototype, "send")
		.mockImplementation(async ({ href }, { headers }) => {
			asked.push([href, headers.authorization ?? null]);
			const { status = 200, location } = answers[href] ?? {};
			return {
				status,
				headers: new Headers(location === undefined ? {} : { location }),
				body: Readable.from([]),
			};
		});
	onTestFinished(() => stub.mockRestore());
	return asked;
}

async function askPublic(location: string, endpoint = "https://hub.example") {
	const asked = answerBy({ [`${endpoint}/a`]: { status: 302, location } });
	const settings = await settingsFor({ endpoint }, { token: SECRET });
	const request = { url: `${endpoint}/a`, subject: SUBJECT, timeoutMs: 1000 };
	const outcome = await ask(settings, request).catch((error) => error);
	return { asked, outcome };
}

describe("case 194: redirects", () => {
	test.each([
		["to http", "http://hub.example/b"],
		["to a file", "file:///etc/passwd"],
		["to data", "data:text/plain,x"],
		["to this machine", "https://127.0.0.1/b"],
		["to this machine in another spelling", "https://2130706433/b"],
		["to this machine by name", "https://localhost/b"],
		["to a cloud's keys", "https://169.254.169.254/latest/meta-data"],
		["to a private network", "https://10.1.2.3/"],
		["to a private network of IPv6", "https://[fd00::1]/"],
		["to this machine of IPv6", "https://[::1]/"],
		["to an IPv4 address within IPv6", "https://[::ffff:127.0.0.1]/"],
		["with a password", "https://user:pass@cdn.example/"],
		["to no address", "https://["],
		["in a circle", "/a"],
	])("%s: refused", async (_, location) => {
		const { asked, outcome } = await askPublic(location);
		expect(outcome).toBeInstanceOf(NetworkError);
		expect(outcome.message).toContain("not followed");
		expect(asked.every(([url]) => url === "https://hub.example/a")).toBe(true);
		expect(asked.length).toBeLessThanOrEqual(6);
	});

	test("a private endpoint may send to private addresses", async () => {
		const { asked } = await askPublic("http://10.1.2.3/b", "http://10.1.2.4");
		expect(asked[1]).toEqual(["http://10.1.2.3/b", null]);
	});

	test("case 193: a relative one keeps the token, another origin loses it for good", async () => {
		const endpoint = "https://hub.example";
		const asked = answerBy({
			[`${endpoint}/a`]: { status: 307, location: "b" },
			[`${endpoint}/b`]: { status: 302, location: "https://cdn.example/c?s=1" },
			"https://cdn.example/c?s=1": { status: 302, location: `${endpoint}/d` },
		});
		const settings = await settingsFor({ endpoint }, { token: SECRET });
		const request = { url: `${endpoint}/a`, subject: SUBJECT, timeoutMs: 1000 };
		const answer = await ask(settings, request);
		expect(answer.fromHub).toBe(false);
		expect(asked).toEqual([
			[`${endpoint}/a`, `Bearer ${SECRET}`],
			[`${endpoint}/b`, `Bearer ${SECRET}`],
			["https://cdn.example/c?s=1", null],
			[`${endpoint}/d`, null],
		]);
	});
});

test("hosts of a private network", () => {
	const isPrivate = (host: string) => isPrivateHost(new URL(`http://${host}`));
	for (const host of [
		"192.168.1.1",
		"172.31.0.1",
		"100.64.0.1",
		"0.0.0.0",
		"[fe80::1]",
		"hub",
		"a.localhost",
		"metadata.google.internal",
	])
		expect(isPrivate(host), host).toBe(true);
	for (const host of [
		"huggingface.co",
		"172.32.0.1",
		"8.8.8.8",
		"[2606:4700::1]",
	])
		expect(isPrivate(host), host).toBe(false);
});

describe("case 192: what the Hub refuses is told with what to do", () => {
	async function refusal(
		spec: object,
		token: string | null,
		revision: string | null = null,
	) {
		const hub = await openHub({
			repos: { [MODEL]: { files: FILES, ...spec } },
			tokens: { hf_stranger: [], hf_friend: [MODEL] },
		});
		const settings = await settingsFor(hub, { token });
		const { error } = await resolveCommit(settings, { name: MODEL, revision })
			.then(async (commit) => {
				await listRemoteFiles(settings, MODEL, commit);
				const url = `${hub.endpoint}/${MODEL}/resolve/${commit}/config.json`;
				await ask(settings, { url, subject: SUBJECT, timeoutMs: 1000 });
				return { error: null };
			})
			.catch((error) => ({ error }));
		return error;
	}

	test("gated, to a stranger without a token", async () => {
		const error = await refusal({ gated: true }, null);
		expect(error).toBeInstanceOf(NetworkError);
		expect(error.message).toMatch(
			/gated, and no token.*Accept its licence.*set HF_TOKEN/,
		);
	});
	test("gated, to an account without access", async () => {
		const error = await refusal({ gated: true }, "hf_stranger");
		expect(error).toBeInstanceOf(NetworkError);
		expect(error.message).toMatch(
			/gated, and the account .* Accept its licence/,
		);
		expect(error.message).not.toContain("hf_stranger");
	});
	test("gated, to an account with access", async () => {
		expect(await refusal({ gated: true }, "hf_friend")).toBeNull();
	});
	test("private or missing, without a token", async () => {
		const error = await refusal({ private: true }, null);
		expect(error).toBeInstanceOf(UsageError);
		expect(error.message).toMatch(
			/no such repository.*for a private one set HF_TOKEN/,
		);
	});
	test("private or missing, with a token", async () => {
		const error = await refusal({ private: true }, "hf_stranger");
		expect(error).toBeInstanceOf(UsageError);
		expect(error.message).toMatch(/no such repository.*that the token/);
	});
	test("a token that is none", async () => {
		const error = await refusal({}, "hf_expired");
		expect(error).toBeInstanceOf(NetworkError);
		expect(error.message).toContain("does not accept the token");
		expect(error.message).not.toContain("hf_expired");
	});
	test("no such revision", async () => {
		const error = await refusal({}, null, "v9");
		expect(error).toBeInstanceOf(UsageError);
		expect(error.message).toContain(
			"org/model@v9: the repository has no such revision",
		);
	});
	test("no such file", async () => {
		const hub = await openHub({ repos: { [MODEL]: { files: FILES } } });
		const settings = await settingsFor(hub);
		const url = `${hub.endpoint}/${MODEL}/resolve/main/none.json`;
		const error = await ask(settings, {
			url,
			subject: { ...SUBJECT, path: "none.json" },
			timeoutMs: 1000,
		}).catch((e) => e);
		expect(error).toBeInstanceOf(UsageError);
		expect(error.message).toContain(
			"org/model, none.json: the repository has no such file",
		);
	});
});

describe("answers about a repository", () => {
	test.each([
		["case 191: 503", { kind: "status", status: 503 }],
		["case 190: 429 with a wait", { kind: "rate-limited", retryAfter: "0" }],
		["case 175: a reset", { kind: "reset" }],
		["case 175: a reset in the body", { kind: "reset", afterBytes: 9 }],
		[
			"case 177: a body that ends early",
			{ kind: "fin", afterBytes: 9, framing: "close" },
		],
		["case 189: a page for people", { kind: "html" }],
	] as const)("%s is tried again", async (_, fault) => {
		const hub = await openHub({ repos: { [MODEL]: { files: FILES } } });
		hub.fail(/\/api\/models\//, fault, 3);
		const settings = await settingsFor(hub);
		expect(await resolveCommit(settings, REPOSITORY)).toBe(hub.commitOf(MODEL));
		expect(hub.requests.length).toBe(4);
	});

	test("case 191: in the end it is given up, without showing a query", async () => {
		const hub = await openHub({ repos: { [MODEL]: { files: FILES } } });
		hub.fail(/\/api\/models\//, { kind: "status", status: 500 }, 99);
		const settings = await settingsFor(hub);
		const error = await resolveCommit(settings, REPOSITORY).catch((e) => e);
		expect(error).toBeInstanceOf(NetworkError);
		expect(error.message).toContain("the Hub failed (500) (tried 6 times)");
		expect(error.message).not.toContain("?");
		expect(hub.requests.length).toBe(6);
	});

	test("case 190: a wait of years is not waited for", async () => {
		const hub = await openHub({ repos: { [MODEL]: { files: FILES } } });
		hub.fail(/./, { kind: "rate-limited", retryAfter: "1000000000" }, 99);
		const error = await resolveCommit(await settingsFor(hub), REPOSITORY).catch(
			(e) => e,
		);
		expect(error).toBeInstanceOf(NetworkError);
		expect(hub.requests.length).toBe(1);
	});

	test("all pages of a list are asked for, of the commit", async () => {
		const files = Object.fromEntries(
			Array.from({ length: 7 }, (_, i) => [`d/${i}.json`, `${i}`]),
		);
		const hub = await openHub({ repos: { [MODEL]: { files } }, pageSize: 3 });
		const commit = hub.commitOf(MODEL);
		const list = await listRemoteFiles(await settingsFor(hub), MODEL, commit);
		expect(list.map(({ path }) => path).sort()).toEqual(
			Object.keys(files).sort(),
		);
		for (const { url } of hub.requests) expect(url).toContain(commit);
	});

	test("case 174: no answer within the time", async () => {
		const hub = await openHub({ repos: { [MODEL]: { files: FILES } } });
		hub.fail(/./, { kind: "black-hole" });
		const settings = { ...(await settingsFor(hub)), metadataTimeoutMs: 50 };
		expect(await resolveCommit(settings, REPOSITORY)).toBe(hub.commitOf(MODEL));
		expect(hub.requests.length).toBe(2);
	});

	test("case 172: nobody listens", async () => {
		const hub = await openHub({ repos: {} });
		await hub.close();
		const settings = await settingsFor(hub);
		const request = {
			url: `${hub.endpoint}/x?secret=1`,
			subject: SUBJECT,
			timeoutMs: 1000,
		};
		const error = await ask(settings, request).catch((e) => e);
		expect(error).toBeInstanceOf(PassingFailure);
		expect(error.fault.what).toContain("ECONNREFUSED");
		expect(error.fault.where).not.toContain("secret");
	});

	test.each([
		["no checksum", { type: "file", path: "w.bin", size: 7 }],
		[
			"a checksum of another kind",
			{
				...{ type: "file", path: "w.bin", size: 7, oid: "1".repeat(40) },
				lfs: { oid: "1".repeat(32), size: 7, pointerSize: 1 },
			},
		],
	])("case 201: a mirror whose list tells %s is refused", async (_, entry) => {
		const hub = await openHub({ repos: { [MODEL]: { files: FILES } } });
		hub.fail(/\/tree\//, {
			...{ kind: "status", status: 200, body: JSON.stringify([entry]) },
		});
		const settings = await settingsFor(hub);
		const error = await listRemoteFiles(
			...([settings, MODEL, hub.commitOf(MODEL)] as const),
		).catch((e) => e);
		expect(error).toBeInstanceOf(NetworkError);
		expect(error.message).toMatch(
			/w\.bin: .*its size or checksum make no sense/,
		);
	});
});
