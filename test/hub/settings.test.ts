import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { UsageError } from "../../src/errors.ts";
import { readHubSettings } from "../../src/hub/settings.ts";
import { scratchFolder } from "../end-to-end/run.ts";

const NOWHERE = { HOME: "/nowhere" };

describe("the cache is where the Python client has it", () => {
	const cases: [string, Record<string, string>, string][] = [
		["by default", {}, "/nowhere/.cache/huggingface/hub"],
		["XDG_CACHE_HOME", { XDG_CACHE_HOME: "/x" }, "/x/huggingface/hub"],
		["HF_HOME over it", { XDG_CACHE_HOME: "/x", HF_HOME: "/h" }, "/h/hub"],
		["the old name", { HF_HOME: "/h", HUGGINGFACE_HUB_CACHE: "/o" }, "/o"],
		[
			"HF_HUB_CACHE first",
			{ HUGGINGFACE_HUB_CACHE: "/o", HF_HUB_CACHE: "/n" },
			"/n",
		],
		["empty is not set", { HF_HUB_CACHE: "", HF_HOME: "/h" }, "/h/hub"],
		["a tilde", { HF_HUB_CACHE: "~/c" }, "/nowhere/c"],
		["a tilde inside a name", { HF_HUB_CACHE: "/a~/c" }, "/a~/c"],
		[
			"variables",
			// biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of the environment
			{ HF_HUB_CACHE: "/a/$USER/${X}y$Z", USER: "u", X: "x" },
			"/a/u/xy$Z",
		],
	];
	test.each(cases)("%s", async (_, env, cacheDir) => {
		const settings = await readHubSettings({}, { ...NOWHERE, ...env });
		expect(settings.cacheDir).toBe(cacheDir);
	});

	test("an option comes before all", async () => {
		const env = { ...NOWHERE, HF_HUB_CACHE: "/n" };
		const { cacheDir } = await readHubSettings({ cacheDir: "/o" }, env);
		expect(cacheDir).toBe("/o");
	});
});

describe("token", () => {
	async function tokenFile(text: string, ...name: string[]) {
		const file = path.join(await scratchFolder(), ...name);
		await mkdir(path.dirname(file), { recursive: true });
		await writeFile(file, text);
		return file;
	}
	const tokenOf = async (env: Record<string, string>) =>
		(await readHubSettings({}, { ...NOWHERE, ...env })).token;

	test("none", async () => expect(await tokenOf({})).toBeNull());

	test("HF_TOKEN before the old name before the file", async () => {
		const HF_TOKEN_PATH = await tokenFile("hf_file\r\n", "t");
		const old = { HUGGING_FACE_HUB_TOKEN: "hf_old", HF_TOKEN_PATH };
		expect(await tokenOf({ HF_TOKEN_PATH })).toBe("hf_file");
		expect(await tokenOf(old)).toBe("hf_old");
		expect(await tokenOf({ HF_TOKEN: " hf_new\n", ...old })).toBe("hf_new");
	});

	test("the file lies in HF_HOME", async () => {
		const HF_HOME = path.dirname(await tokenFile("hf_home", "token"));
		expect(await tokenOf({ HF_HOME })).toBe("hf_home");
	});

	test("HF_HUB_DISABLE_IMPLICIT_TOKEN hides it, not the option", async () => {
		const env = { HF_TOKEN: "hf_x", HF_HUB_DISABLE_IMPLICIT_TOKEN: "yes" };
		expect(await tokenOf(env)).toBeNull();
		expect((await readHubSettings({ token: "hf_o" }, env)).token).toBe("hf_o");
		expect(
			(await readHubSettings({ token: null }, { HF_TOKEN: "hf_x" })).token,
		).toBeNull();
	});

	test("what cannot be sent is refused and not shown", async () => {
		const error = await tokenOf({ HF_TOKEN: "hf_se cret" }).catch((e) => e);
		expect(error).toBeInstanceOf(UsageError);
		expect(error.message).not.toContain("cret");
	});
});

test("offline, as the Python client means it", async () => {
	const offline = async (env: Record<string, string>, option?: boolean) =>
		(await readHubSettings({ offline: option }, { ...NOWHERE, ...env }))
			.offline;
	for (const yes of ["1", "ON", "yes", "True"])
		expect(await offline({ HF_HUB_OFFLINE: yes })).toBe(true);
	for (const no of ["", "0", "off", "2"])
		expect(await offline({ HF_HUB_OFFLINE: no })).toBe(false);
	expect(await offline({ TRANSFORMERS_OFFLINE: "1" })).toBe(true);
	expect(await offline({ HF_HUB_OFFLINE: "1" }, false)).toBe(false);
});

test("timeouts are whole seconds, or the default", async () => {
	const of = (env: Record<string, string>) =>
		readHubSettings({}, { ...NOWHERE, ...env });
	expect(await of({})).toMatchObject({
		metadataTimeoutMs: 10_000,
		downloadTimeoutMs: 10_000,
	});
	expect(
		await of({ HF_HUB_ETAG_TIMEOUT: "3", HF_HUB_DOWNLOAD_TIMEOUT: "60" }),
	).toMatchObject({ metadataTimeoutMs: 3000, downloadTimeoutMs: 60_000 });
	expect(await of({ HF_HUB_ETAG_TIMEOUT: "x" })).toMatchObject({
		metadataTimeoutMs: 10_000,
	});
});

test("the endpoint is an address, without slashes at its end", async () => {
	const of = async (HF_ENDPOINT: string) =>
		(await readHubSettings({}, { ...NOWHERE, HF_ENDPOINT })).endpoint;
	expect(await of("")).toBe("https://huggingface.co");
	expect(await of("https://mirror.example/hf//")).toBe(
		"https://mirror.example/hf",
	);
	for (const wrong of [
		"mirror.example",
		"ftp://x.example",
		"https://u:secret@x.example",
		"https://x.example/?k=secret",
	]) {
		const error = await of(wrong).catch((e) => e);
		expect(error, wrong).toBeInstanceOf(UsageError);
		expect(error.message).not.toContain("secret");
	}
});
