import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import {
	chmod,
	lstat,
	mkdir,
	open as openFile,
	readdir,
	readFile,
	readlink,
	rm,
	stat,
	symlink,
	truncate,
	writeFile,
} from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import {
	InterruptedError,
	NetworkError,
	UsageError,
	VerificationError,
} from "../../src/errors.ts";
import type { DownloadProgress } from "../../src/hub/download.ts";
import {
	type FetchRepositoryOptions,
	fetchRepository,
} from "../../src/hub/fetch-repository.ts";
import { PartialBlob } from "../../src/hub/partial.ts";
import { LOCAL_FILES } from "../../src/io/file-system.ts";
import { scratchFolder } from "../end-to-end/run.ts";
import { replaceSystemCall } from "../io/replace-system-call.ts";
import type { LocalHub, LocalHubOptions } from "./local-hub.ts";
import { IMPATIENT, MODEL, openHub, someBytes } from "./open-hub.ts";

vi.setConfig({ testTimeout: 30_000 });

const SIZE = 300_000;
const WEIGHTS = someBytes(SIZE);
const SHA256 = createHash("sha256").update(WEIGHTS).digest("hex");
const CONFIG = '{"a": 1}';
const CONFIG_ID = createHash("sha1").update(`blob 8\0${CONFIG}`).digest("hex");
const FILES = {
	"model.safetensors": WEIGHTS,
	"config.json": CONFIG,
	"sub/empty.json": "",
};
const STORE = /^GET http:\/\/localhost/;
const HOST = hostname().replace(/[^\w.]/g, "_");

async function open(options: Partial<LocalHubOptions> = {}) {
	const hub = await openHub({
		repos: { [MODEL]: { files: FILES } },
		...options,
	});
	const cacheDir = await scratchFolder();
	const folder = path.join(cacheDir, "models--org--model");
	const blobs = path.join(folder, "blobs");
	const bring = (repo = MODEL, more: Partial<FetchRepositoryOptions> = {}) =>
		fetchRepository(repo, {
			...{ cacheDir, endpoint: hub.endpoint, token: null, offline: false },
			...{ retry: IMPATIENT, choose: (paths) => paths, ...more },
		});
	return { hub, cacheDir, folder, blobs, bring };
}

/** The ranges the store was asked for. */
function asked({ requests }: LocalHub): (string | undefined)[] {
	return requests.flatMap(({ origin, headers }) =>
		origin === "cdn" ? [headers.range] : [],
	);
}

async function expectWeights(snapshot: string): Promise<void> {
	const bytes = await readFile(path.join(snapshot, "model.safetensors"));
	expect(bytes.equals(WEIGHTS)).toBe(true); // toEqual would compare byte by byte, in seconds
}

async function leftovers(folder: string): Promise<string[]> {
	const names = await readdir(folder, { recursive: true });
	return names.filter((name) => name.includes("incomplete"));
}

/** A process id that nobody has. */
async function deadPid(): Promise<number> {
	const child = spawn(process.execPath, ["-e", ""]);
	await once(child, "exit");
	return child.pid as number;
}

describe("the cache", () => {
	test("is laid out as the Python client's", async () => {
		const { hub, folder, blobs, bring } = await open();
		const result = await bring();
		const commit = hub.commitOf(MODEL);
		const snapshot = path.join(folder, "snapshots", commit);
		expect(result).toMatchObject({
			repository: MODEL,
			commit,
			folder: snapshot,
		});
		expect(await readFile(path.join(folder, "refs", "main"), "utf8")).toBe(
			commit,
		);
		const empty = createHash("sha1").update("blob 0\0").digest("hex");
		expect((await readdir(blobs)).sort()).toEqual(
			[SHA256, CONFIG_ID, empty].sort(),
		);
		expect(await readlink(path.join(snapshot, "config.json"))).toBe(
			`../../blobs/${CONFIG_ID}`,
		);
		expect(await readlink(path.join(snapshot, "sub", "empty.json"))).toBe(
			`../../../blobs/${empty}`,
		);
		await expectWeights(snapshot);
		expect(await readFile(path.join(snapshot, "config.json"), "utf8")).toBe(
			CONFIG,
		);
		expect(await leftovers(folder)).toEqual([]);
		expect(
			result.files.find((file) => file.path === "model.safetensors"),
		).toEqual({
			path: "model.safetensors",
			byteLength: SIZE,
			sha256: SHA256,
			wasCached: false,
		});
	});

	test("is not filled twice", async () => {
		const { hub, bring } = await open();
		await bring();
		hub.requests.length = 0;
		const again = await bring();
		expect(again.files.every(({ wasCached }) => wasCached)).toBe(true);
		expect(hub.requests.every(({ url }) => url.includes("/api/models/"))).toBe(
			true,
		);
	});

	test("gives what another commit has in common", async () => {
		const { hub, bring } = await open();
		await bring();
		const commit = await hub.commit(MODEL, { ...FILES, "config.json": "{}" });
		hub.requests.length = 0;
		const { folder } = await bring();
		expect(folder).toContain(commit);
		expect(asked(hub)).toEqual([]);
		expect(await readFile(path.join(folder, "config.json"), "utf8")).toBe("{}");
		expect((await stat(path.join(folder, "model.safetensors"))).size).toBe(
			SIZE,
		);
	});

	test("keeps a nested revision apart", async () => {
		const { folder, bring } = await open({
			repos: {
				[MODEL]: {
					files: FILES,
					refs: { "refs/pr/1": { ...FILES, "config.json": "[]" } },
				},
			},
		});
		const { commit } = await bring(`${MODEL}@refs/pr/1`);
		expect(
			await readFile(path.join(folder, "refs", "refs", "pr", "1"), "utf8"),
		).toBe(commit);
		const pinned = await bring(`${MODEL}@${commit}`);
		expect(pinned.commit).toBe(commit);
		expect(await readdir(path.join(folder, "refs"))).toEqual(["refs"]);
	});

	test.each([
		["a blob that is cut off", "cut"],
		["a link to nothing", "dangling"],
		["a shared blob that is gone", "shared"],
	])("is mended: %s", async (_, how) => {
		const { folder, blobs, bring } = await open();
		const { folder: snapshot } = await bring();
		const blob = path.join(blobs, SHA256);
		if (how === "cut") await writeFile(blob, WEIGHTS.subarray(0, 100));
		else await rm(blob);
		if (how === "shared") await symlink("../../blobs/ab/cd", blob);
		const { files } = await bring();
		expect(files.filter(({ wasCached }) => !wasCached)).toHaveLength(1);
		await expectWeights(snapshot);
		expect((await lstat(blob)).isFile()).toBe(true);
		expect(await leftovers(folder)).toEqual([]);
	});

	test("takes a file that lies in the snapshot itself, where links are not made", async () => {
		const { hub, bring } = await open();
		const { folder: snapshot } = await bring();
		const file = path.join(snapshot, "model.safetensors");
		await rm(file);
		await writeFile(file, WEIGHTS);
		hub.requests.length = 0;
		await bring();
		expect(asked(hub)).toEqual([]);
		expect((await lstat(file)).isFile()).toBe(true);
	});

	test("whose folder cannot be written is an error of this machine", async () => {
		const { cacheDir, bring } = await open();
		await writeFile(path.join(cacheDir, "models--org--model"), "in the way");
		await expect(bring()).rejects.toMatchObject({ code: "ERR_LOCAL_IO" });
		await chmod(cacheDir, 0o700);
	});

	test("whose folder cannot be flushed is used all the same: it can be filled again", async () => {
		const { blobs, bring } = await open();
		const sync = vi.spyOn(LOCAL_FILES, "syncFolder");
		onTestFinished(() => sync.mockRestore());
		sync.mockRejectedValue(Object.assign(new Error("EIO"), { code: "EIO" }));
		await expectWeights((await bring()).folder);
		expect(sync).toHaveBeenCalledWith(blobs);
	});
});

describe("without links", () => {
	/** Two files of one content, and a second commit that shares the weights. */
	async function openTwice(how: string) {
		const opened = await open({
			repos: { [MODEL]: { files: { ...FILES, "again.json": CONFIG } } },
		});
		onTestFinished(() => void vi.unstubAllEnvs());
		if (how === "forbidden") vi.stubEnv("HF_HUB_DISABLE_SYMLINKS", "1");
		else
			replaceSystemCall("symlink", () => async () => {
				throw Object.assign(new Error(how), { code: how });
			});
		return opened;
	}

	test.each(["forbidden", "EPERM", "ENOTSUP"])(
		"files lie in the snapshot themselves: %s",
		async (how) => {
			const { hub, folder, blobs, bring } = await openTwice(how);
			const { folder: snapshot } = await bring();
			await expectWeights(snapshot);
			for (const name of ["config.json", "again.json"]) {
				expect(await readFile(path.join(snapshot, name), "utf8")).toBe(CONFIG);
				expect((await lstat(path.join(snapshot, name))).isFile()).toBe(true);
			}
			expect(await readdir(blobs)).toEqual([]);
			expect(await leftovers(folder)).toEqual([]);
			hub.requests.length = 0;
			const again = await bring();
			expect(again.files.every(({ wasCached }) => wasCached)).toBe(true);
			expect(asked(hub)).toEqual([]);
			const offline = await bring(MODEL, { offline: true });
			expect(offline.files).toHaveLength(4);
		},
	);

	test("what another snapshot links to is copied, not moved", async () => {
		const { hub, blobs, bring } = await open();
		const { folder: before } = await bring();
		await hub.commit(MODEL, { ...FILES, "config.json": "{}" });
		vi.stubEnv("HF_HUB_DISABLE_SYMLINKS", "1");
		onTestFinished(() => void vi.unstubAllEnvs());
		hub.requests.length = 0;
		const { folder: after } = await bring();
		expect(asked(hub)).toEqual([]);
		await expectWeights(before);
		await expectWeights(after);
		expect(await readdir(blobs)).toContain(SHA256);
		const file = path.join(after, "model.safetensors");
		expect((await lstat(file)).isFile()).toBe(true);
	});

	test("an error of another kind is told", async () => {
		const { bring } = await openTwice("ENOSPC");
		await expect(bring()).rejects.toMatchObject({ code: "ERR_LOCAL_IO" });
	});
});

describe("a full disk", () => {
	test("is told before anything is fetched, with what is missing", async () => {
		const { hub, folder, bring } = await open();
		const huge = 2 ** 52;
		const entries = [
			{
				...{
					type: "file",
					path: "model.safetensors",
					size: huge,
					oid: CONFIG_ID,
				},
				lfs: { oid: SHA256, size: huge, pointerSize: 1 },
			},
		];
		hub.fail(/\/tree\//, {
			...{ kind: "status", status: 200, body: JSON.stringify(entries) },
		});
		const error = await bring().catch((e) => e);
		expect(error).toMatchObject({ code: "ERR_LOCAL_IO" });
		expect(error.message).toMatch(/name another disk with --cache-dir$/);
		const [, expected, found, missing] =
			/expected (\d+) free bytes, found (\d+)\. Free (\d+) bytes/.exec(
				error.message,
			) ?? [];
		expect(Number(expected)).toBe(huge);
		expect(Number(found) + Number(missing)).toBe(huge);
		expect(asked(hub)).toEqual([]);
		expect(await readdir(folder)).toEqual(["blobs"]);
	});

	test("needs no space for what is there of it", async () => {
		const { blobs, bring, hub } = await open();
		await mkdir(blobs, { recursive: true });
		const huge = 2 ** 40;
		const left = path.join(
			blobs,
			`${SHA256}.md-${HOST}-${await deadPid()}.incomplete`,
		);
		await writeFile(left, "");
		await truncate(left, huge); // holes, which take none
		const entries = [
			{
				...{
					type: "file",
					path: "model.safetensors",
					size: huge,
					oid: CONFIG_ID,
				},
				lfs: { oid: SHA256, size: huge, pointerSize: 1 },
			},
		];
		expect(await PartialBlob.bytesLeft(blobs, SHA256)).toBe(huge);
		const controller = new AbortController();
		hub.fail(/\/tree\//, {
			...{ kind: "status", status: 200, body: JSON.stringify(entries) },
		});
		const { signal } = controller;
		const fetching = bring(MODEL, { signal }).catch((e) => e);
		const own = `${SHA256}.md-${HOST}-${process.pid}.incomplete`;
		while (!(await readdir(blobs)).includes(own));
		controller.abort();
		expect(await fetching).toBeInstanceOf(InterruptedError);
		expect((await stat(path.join(blobs, own))).size).toBe(huge);
	});

	test("in the middle leaves what the next run goes on with", async () => {
		const { hub, folder, bring } = await open();
		hub.fail(STORE, { kind: "packets", bytes: 20_000 });
		const handle = await openFile(path.join(folder, "..", "x"), "w");
		await handle.close();
		const prototype = Object.getPrototypeOf(handle);
		const write = vi.spyOn(prototype, "write");
		onTestFinished(() => write.mockRestore());
		let written = 0;
		const failing = bring(MODEL, {
			choose: () => ["model.safetensors"],
			onProgress: ({ fileBytes }) => {
				written = fileBytes;
				if (fileBytes > 0)
					write.mockRejectedValue(
						Object.assign(new Error("full"), { code: "ENOSPC" }),
					);
			},
		});
		const error = await failing.catch((e) => e);
		expect(error).toMatchObject({ code: "ERR_LOCAL_IO" });
		expect(error.message).toMatch(
			/writing failed \(ENOSPC\)\. The disk is full: free space, then run the same command again/,
		);
		write.mockRestore();
		hub.requests.length = 0;
		const { folder: snapshot } = await bring();
		expect(written).toBeGreaterThan(0);
		expect(asked(hub)).toEqual([`bytes=${written}-${SIZE - 1}`]);
		await expectWeights(snapshot);
	});
});

test("what transformers would look for in vain is noted for it", async () => {
	const { folder, bring } = await open();
	const sought = ["config.json", "tokenizer.model", "sub/x.json"];
	const { commit } = await bring(MODEL, { sought });
	await bring(MODEL, { sought });
	const noted = path.join(folder, ".no_exist", commit);
	expect((await readdir(noted, { recursive: true })).sort()).toEqual(
		["sub", "sub/x.json", "tokenizer.model"].sort(),
	);
	expect((await stat(path.join(noted, "tokenizer.model"))).size).toBe(0);
});

describe("checksums", () => {
	test("case 189: wrong once: fetched once more", async () => {
		const { hub, folder, bring } = await open();
		hub.fail(STORE, { kind: "bit-flip", at: 123_456 });
		const notices: string[] = [];
		const { folder: snapshot } = await bring(MODEL, {
			onNotice: (n) => notices.push(n),
		});
		expect(asked(hub)).toHaveLength(2);
		expect(notices.join()).toContain("wrong checksum");
		await expectWeights(snapshot);
		expect(await leftovers(folder)).toEqual([]);
	});

	test.each<[string, RegExp, Parameters<LocalHub["fail"]>[1]]>([
		["a flipped bit", STORE, { kind: "bit-flip", at: 7 }],
		["a page of the right length", STORE, { kind: "html", sameLength: true }],
		[
			"a flipped bit in a small file",
			/config\.json/,
			{ kind: "bit-flip", at: 2 },
		],
	])(
		"case 189: wrong twice: %s is refused and not kept",
		async (_, pattern, fault) => {
			const { hub, folder, blobs, bring } = await open();
			hub.fail(pattern, fault, 99);
			const error = await bring().catch((e) => e);
			expect(error).toBeInstanceOf(VerificationError);
			const oid = pattern === STORE ? SHA256 : CONFIG_ID;
			expect(error.message).toContain(oid);
			expect((await readdir(blobs)).filter((n) => n.startsWith(oid))).toEqual(
				[],
			);
			expect(await readdir(folder)).not.toContain("refs");
		},
	);

	test("case 181: wrong bytes of another range that says it is the right one", async () => {
		const { hub, bring } = await open();
		hub.fail(STORE, { kind: "reset", afterBytes: 100_000 });
		hub.fail(STORE, { kind: "other-range", shift: -1, lying: true });
		const { folder } = await bring();
		expect(asked(hub).at(-1)).toBe(`bytes=0-${SIZE - 1}`);
		await expectWeights(folder);
	});

	test("case 201: of a mirror that tells none with the file", async () => {
		const { hub, bring } = await open();
		hub.fail(/resolve/, { kind: "mirror" }, 99);
		hub.fail(STORE, { kind: "bit-flip", at: 7 });
		await bring();
		expect(asked(hub)).toHaveLength(2);
	});
});

describe("what a dead process left", () => {
	const partialOf = (blobs: string, pid: number, host = HOST) =>
		path.join(blobs, `${SHA256}.md-${host}-${pid}.incomplete`);
	async function openWith(bytes: Uint8Array, pid: number, host?: string) {
		const opened = await open();
		await mkdir(opened.blobs, { recursive: true });
		await writeFile(partialOf(opened.blobs, pid, host), bytes);
		return opened;
	}

	test("is gone on with", async () => {
		const { hub, bring, folder } = await openWith(
			WEIGHTS.subarray(0, 123_456),
			await deadPid(),
		);
		await bring();
		expect(asked(hub)).toEqual([`bytes=123456-${SIZE - 1}`]);
		expect(await leftovers(folder)).toEqual([]);
	});

	test("is gone on with where this process has the same id", async () => {
		const { hub, bring } = await openWith(
			WEIGHTS.subarray(0, 1000),
			process.pid,
		);
		await bring();
		expect(asked(hub)).toEqual([`bytes=1000-${SIZE - 1}`]);
	});

	test("case 185: is whole already", async () => {
		const { hub, bring } = await openWith(WEIGHTS, await deadPid());
		await bring();
		expect(asked(hub)).toEqual([]);
	});

	test("has other bytes: it is fetched from the start", async () => {
		const { hub, bring } = await openWith(
			new Uint8Array(1000),
			await deadPid(),
		);
		const { folder } = await bring();
		expect(asked(hub)).toEqual([
			`bytes=1000-${SIZE - 1}`,
			`bytes=0-${SIZE - 1}`,
		]);
		await expectWeights(folder);
	});

	test("is too long: it is fetched from the start", async () => {
		const { hub, bring } = await openWith(
			new Uint8Array(SIZE + 1),
			await deadPid(),
		);
		await bring();
		expect(asked(hub)).toEqual([`bytes=0-${SIZE - 1}`]);
	});

	test.each([
		["a live process", async () => process.ppid, HOST],
		["another machine", deadPid, "elsewhere"],
	])("what %s writes is left alone", async (_, findPid, host) => {
		const pid = await findPid();
		const { hub, bring, blobs } = await openWith(
			WEIGHTS.subarray(0, 1000),
			pid,
			host,
		);
		await bring();
		expect(asked(hub)).toEqual([`bytes=0-${SIZE - 1}`]);
		expect((await stat(partialOf(blobs, pid, host))).size).toBe(1000);
	});
});

test("a process that is killed leaves what the next goes on with", async () => {
	const { hub, cacheDir, blobs, bring } = await open();
	hub.fail(STORE, { kind: "stall", afterBytes: 200_000 });
	const program = `
		import { fetchRepository } from ${JSON.stringify(new URL("../../dist/src/hub/fetch-repository.js", import.meta.url).href)};
		await fetchRepository(${JSON.stringify(MODEL)}, {
			cacheDir: ${JSON.stringify(cacheDir)}, endpoint: ${JSON.stringify(hub.endpoint)}, token: null,
			choose: (paths) => paths,
			onProgress: ({ path, fileBytes }) => { if (path === "model.safetensors") process.send(fileBytes); },
		});`;
	const child = spawn(
		process.execPath,
		["--input-type=module", "-e", program],
		{
			cwd: fileURLToPath(new URL("../..", import.meta.url)),
			stdio: ["ignore", "inherit", "inherit", "ipc"],
		},
	);
	onTestFinished(() => void child.kill("SIGKILL"));
	await new Promise<void>((resolve, reject) => {
		child.on("message", (bytes) => bytes === 200_000 && resolve());
		child.on("exit", () => reject(new Error("ended before it was killed")));
	});
	child.kill("SIGKILL");
	await once(child, "exit");
	// A small file may have been on its way too.
	expect(await leftovers(blobs)).toContain(
		`${SHA256}.md-${HOST}-${child.pid}.incomplete`,
	);
	hub.requests.length = 0;
	const { folder } = await bring();
	expect(asked(hub)).toEqual([`bytes=200000-${SIZE - 1}`]);
	await expectWeights(folder);
	expect(await leftovers(blobs)).toEqual([]);
});

describe("several at once", () => {
	test("two that want the same fetch it once", async () => {
		const { hub, bring } = await open();
		await Promise.all([bring(), bring()]);
		expect(asked(hub)).toHaveLength(1);
	});

	test("progress counts all bytes, those in the cache included, and ends at their sum", async () => {
		const { hub, bring } = await open();
		await bring(MODEL, { choose: () => ["config.json"] });
		hub.fail(STORE, { kind: "bit-flip", at: 1 });
		const steps: DownloadProgress[] = [];
		await bring(MODEL, { onProgress: (step) => steps.push({ ...step }) });
		const total = SIZE + CONFIG.length;
		for (const { bytes, totalBytes } of steps) {
			expect(totalBytes).toBe(total);
			expect(bytes).toBeLessThanOrEqual(total);
		}
		expect(steps[0]).toMatchObject({
			path: "config.json",
			bytes: CONFIG.length,
		});
		expect(steps.at(-1)?.bytes).toBe(total);
	});

	test("the first failure stops the rest and is the one that is told", async () => {
		const { hub, bring, folder } = await open();
		hub.fail(STORE, { kind: "stall", afterBytes: 1000 }, 99);
		hub.fail(/config\.json/, { kind: "status", status: 418 });
		const error = await bring().catch((e) => e);
		expect(error).toBeInstanceOf(NetworkError);
		expect(error.message).toContain("418");
		expect(await readdir(folder)).not.toContain("refs");
	});

	test("an interruption stops all and keeps what came", async () => {
		const { hub, bring, blobs } = await open();
		hub.fail(STORE, { kind: "stall", afterBytes: 150_000 });
		const controller = new AbortController();
		const fetching = bring(MODEL, {
			signal: controller.signal,
			onProgress: ({ fileBytes }) =>
				fileBytes === 150_000 && controller.abort(),
		});
		await expect(fetching).rejects.toBeInstanceOf(InterruptedError);
		expect(await leftovers(blobs)).toHaveLength(1);
		hub.requests.length = 0;
		await bring();
		expect(asked(hub)).toEqual([`bytes=150000-${SIZE - 1}`]);
	});
});

describe("offline", () => {
	test("case 203: takes what the cache holds, and opens no socket", async () => {
		const { hub, bring } = await open();
		const online = await bring();
		hub.requests.length = 0;
		const offline = await bring(MODEL, {
			offline: true,
			endpoint: "http://127.0.0.1:1",
		});
		expect(offline).toMatchObject({
			commit: online.commit,
			folder: online.folder,
		});
		expect(offline.files.map((file) => file.path).sort()).toEqual(
			Object.keys(FILES).sort(),
		);
		expect(
			(await bring(`${MODEL}@${online.commit}`, { offline: true })).folder,
		).toBe(online.folder);
		expect(hub.requests).toEqual([]);
	});

	test.each([MODEL, `${MODEL}@v2`, `${MODEL}@${"0".repeat(40)}`])(
		"%s, which it does not hold, is an error that says so",
		async (repo) => {
			const { hub, bring } = await open();
			const error = await bring(repo, { offline: true }).catch((e) => e);
			expect(error).toBeInstanceOf(NetworkError);
			expect(error.message).toMatch(/not in the cache .*without --offline/);
			expect(hub.requests).toEqual([]);
		},
	);

	test("does not take a link to nothing for a file", async () => {
		const { blobs, bring } = await open();
		await bring();
		await rm(path.join(blobs, SHA256));
		const { files } = await bring(MODEL, { offline: true });
		expect(files.map((file) => file.path)).not.toContain("model.safetensors");
	});
});

test.each([
	"model",
	"a/b/c",
	"org/model@",
	"org/../x",
	"org/model@../x",
	"-org/m",
	"org/model@a..b",
])("%s is no repository", async (repo) => {
	const { bring } = await open();
	await expect(bring(repo)).rejects.toBeInstanceOf(UsageError);
});
