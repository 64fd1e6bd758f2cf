import { createHash } from "node:crypto";
import {
	mkdir,
	readdir,
	readFile,
	rename,
	symlink,
	truncate,
	writeFile,
} from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import {
	openBuddyDecrypt,
	pointDecrypt,
	xorCodec,
} from "../delta/byte-scripts.ts";
import { memoryFolder, run } from "./run.ts";

type Files = Record<string, Uint8Array | string>;

const MIB = 2 ** 20;
const KEY = "consolidated.00.pth";
const posix = test.skipIf(process.platform === "win32");

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes);
const NO_BYTES = sha256(new Uint8Array()).digest("hex");

/** Bytes that look random, the same for the same seed. */
function noise(seed: string, byteLength: number): Uint8Array {
	return createHash("shake256", { outputLength: byteLength })
		.update(seed)
		.digest();
}

async function writeFiles(folder: string, files: Files): Promise<string> {
	for (const [name, bytes] of Object.entries(files)) {
		await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
		await writeFile(path.join(folder, name), bytes);
	}
	return folder;
}

/** Merge in a new place; `left` is all that is found there afterwards. */
async function merge(base: string, delta: string, ...flags: string[]) {
	const scratch = await memoryFolder();
	const out = path.join(scratch, "out");
	const result = await run(
		...["--base", base, "--delta", delta, "--out", out, ...flags],
	);
	return { ...result, out, left: await readdir(scratch) };
}

async function readOutput(out: string): Promise<Record<string, Buffer>> {
	const files: Record<string, Buffer> = {};
	for (const name of (await readdir(out)).sort())
		files[name] = await readFile(path.join(out, name));
	return files;
}

/** The output holds these files and the program's own two, and verifies. */
async function expectOutput(out: string, expected: Files) {
	const {
		SHA256SUMS,
		"merge-delta.json": manifest,
		...files
	} = await readOutput(out);
	expect(SHA256SUMS).toBeDefined();
	expect(Object.keys(files)).toEqual(Object.keys(expected).sort());
	for (const [name, bytes] of Object.entries(expected))
		expect(files[name]?.equals(Buffer.from(bytes)), name).toBe(true);
	const verified = await run("verify", out);
	expect(verified.exitCode, verified.stderr).toBe(0);
	return JSON.parse(manifest?.toString() ?? "");
}

describe("xor", () => {
	const base = {
		"pytorch_model-00001-of-00002.bin": noise("base 1", 300_001),
		"pytorch_model-00002-of-00002.bin": noise("base 2", 5000),
		"config.json": '{"vocab_size": 32000}',
		"tokenizer.model": noise("not in the payload", 10),
	};
	const merged = {
		"pytorch_model-00001-of-00002.bin": noise("merged 1", 290_000),
		"pytorch_model-00002-of-00002.bin": noise("merged 2", 70_003),
		"config.json": '{"vocab_size": 32016, "more": true}',
		"added_tokens.json": '{"<extra>": 32000}',
	};
	/** The script's inverse is the script. */
	const payload = Object.fromEntries(
		Object.entries(merged).map(([name, bytes]) => [
			name,
			name in base
				? xorCodec(
						Buffer.from(bytes),
						Buffer.from(base[name as keyof typeof base]),
					)
				: bytes,
		]),
	);

	test.each(["", "xor_encoded_files", "oasst-sft-6-llama-30b-xor"])(
		"decodes the files in %j",
		async (folder) => {
			const files = Object.entries(payload).map(([name, bytes]) => [
				path.join(folder, name),
				bytes,
			]);
			const delta = await writeFiles(await memoryFolder(), {
				...Object.fromEntries(files),
				".gitattributes": "*.bin filter=lfs",
			});
			const from = await writeFiles(await memoryFolder(), base);
			const result = await merge(from, delta, "--convention", "xor");
			expect(result.exitCode, result.stderr).toBe(0);
			expect(result.stderr).toContain("knows no checksum of its results");
			const manifest = await expectOutput(result.out, merged);
			expect(manifest.convention).toBe("xor");
			expect(manifest.sums).toEqual(["copy", "xor"]);
			const named = Object.keys(merged).sort();
			expect(manifest.inputs).toEqual([
				...named
					.filter((name) => name in base)
					.map((name) => readFact("base", name, base[name as "config.json"])),
				...named.map((name) =>
					readFact("delta", name, payload[name] as Uint8Array),
				),
			]);
		},
	);

	test("names the files the base lacks", async () => {
		const { "config.json": _, ...rest } = base;
		const result = await merge(
			await writeFiles(await memoryFolder(), rest),
			await writeFiles(await memoryFolder(), payload),
			...["--convention", "xor"],
		);
		expect(result.stderr).toContain("no config.json");
		expect([result.exitCode, result.left]).toEqual([4, []]);
	});

	test("is not guessed, but named: by a folder, or by what the bytes become", async () => {
		const zip = Buffer.concat([Buffer.from("PK\x03\x04"), noise("zip", 100)]);
		const from = await writeFiles(await memoryFolder(), { "a.bin": zip });
		const made = { "a.bin": xorCodec(zip, zip) };
		for (const name of ["xor_encoded_files/a.bin", "a.bin"]) {
			const delta = await writeFiles(await memoryFolder(), {
				[name]: made["a.bin"],
			});
			const result = await merge(from, delta);
			expect(result.stderr).toContain("--convention xor");
			expect([result.exitCode, result.left]).toEqual([4, []]);
		}
	});

	test("does not choose between two folders", async () => {
		const delta = await writeFiles(await memoryFolder(), {
			"a-xor/a": "1",
			"b-xor/a": "2",
		});
		const from = await writeFiles(await memoryFolder(), { a: "0" });
		const result = await merge(from, delta, "--convention", "xor");
		expect(result.stderr).toContain("a-xor, b-xor");
		expect([result.exitCode, result.left]).toEqual([2, []]);
	});

	test("has no use for --dtype", async () => {
		const delta = await writeFiles(await memoryFolder(), { a: "1" });
		const flags = ["--convention", "xor", "--dtype", "F16"];
		const result = await merge(delta, delta, ...flags);
		expect([result.exitCode, result.left]).toEqual([2, []]);
	});

	posix("no file name steers the terminal, or escapes the rule", async () => {
		const name = "a\n\u001b[2J";
		const delta = await writeFiles(await memoryFolder(), { [name]: "12" });
		const from = await writeFiles(await memoryFolder(), { [name]: "0" });
		const flags = ["--convention", "xor"];
		const result = await merge(from, delta, ...flags);
		const planned = await run(
			"plan",
			"--base",
			from,
			"--delta",
			delta,
			...flags,
		);
		expect(result.exitCode, result.stderr).toBe(0);
		for (const said of [result.stderr, result.stdout, planned.stdout])
			expect(said).not.toContain("\u001b[2J");
		await expectOutput(result.out, { [name]: "\x012" });
	});

	posix("publishes nothing from outside the folder", async () => {
		const delta = await writeFiles(await memoryFolder(), { a: "1" });
		await symlink("/etc/passwd", path.join(delta, "added_tokens.json"));
		const from = await writeFiles(await memoryFolder(), { a: "0" });
		const result = await merge(from, delta, "--convention", "xor");
		expect(result.stderr).toContain("a symbolic link out of");
		expect([result.exitCode, result.left]).toEqual([3, []]);
	});
});

function readFact(
	from: string,
	fileName: string,
	content: Uint8Array | string,
) {
	const bytes = Buffer.from(content);
	const digest = sha256(bytes).digest("hex");
	return { from, fileName, byteLength: bytes.length, sha256: digest };
}

describe("point-xor", () => {
	/** As its publishers encode: the script's inverse is the script. */
	function encode(name: string, plain: Uint8Array, key: Uint8Array): Files {
		const digest = sha256(plain).digest();
		return {
			[`${name}.${digest.toString("hex")}.enc`]: Buffer.concat([
				digest,
				pointDecrypt(plain, key),
			]),
		};
	}

	test("decodes files of real size, whatever the memory", async () => {
		const key = noise("key", 11 * MIB);
		const plain = noise("weights", 23 * MIB);
		const base = await writeFiles(await memoryFolder(), { [KEY]: key });
		const delta = await writeFiles(await memoryFolder(), {
			...encode("pytorch_model.bin", plain, key),
			...encode("empty", new Uint8Array(), key),
			"config.json": "{}",
		});
		for (const flags of [[], ["--memory", "8MB", "--threads", "2"]]) {
			const result = await merge(base, delta, ...flags);
			expect(result.exitCode, result.stderr).toBe(0);
			const manifest = await expectOutput(result.out, {
				"pytorch_model.bin": plain,
				empty: "",
				"config.json": "{}",
			});
			expect(manifest.convention).toBe("point-xor");
			expect(manifest.inputs[0]).toEqual(readFact("base", KEY, key));
		}
	}, 60_000);

	const key = noise("small key", 1000);
	const plain = noise("small", 4321);

	async function small() {
		return {
			key: path.join(
				await writeFiles(await memoryFolder(), { "my key": key }),
				"my key",
			),
			delta: await writeFiles(await memoryFolder(), {
				...encode("a.bin", plain, key),
				...encode("tokenizer.model", noise("tokenizer", 7), key),
			}),
		};
	}

	test("takes the key under any name, and one encoded file", async () => {
		const { key, delta } = await small();
		const [file = ""] = (await readdir(delta)).sort();
		const result = await merge(key, path.join(delta, file));
		expect(result.exitCode, result.stderr).toBe(0);
		await expectOutput(result.out, { "a.bin": plain });
	});

	test("publishes nothing that a wrong key made", async () => {
		const { key, delta } = await small();
		const bytes = await readFile(key);
		bytes[999] = (bytes[999] as number) ^ 1;
		await writeFile(key, bytes);
		const result = await merge(key, delta);
		expect(result.stderr).toContain("not what its publisher made");
		expect([result.exitCode, result.left]).toEqual([1, []]);
	});

	test.each([
		[4321 + 32 - 1, 1, "not what its publisher made"],
		[31, 3, "found 31 bytes"],
		[0, 3, "found 0 bytes"],
	])("refuses a file cut to %d bytes", async (byteLength, exitCode, says) => {
		const { key, delta } = await small();
		const [file = ""] = (await readdir(delta)).sort();
		await truncate(path.join(delta, file), byteLength);
		const result = await merge(key, delta);
		expect(result.stderr).toContain(says);
		expect([result.exitCode, result.left]).toEqual([exitCode, []]);
	});

	test("refuses a file that was renamed to another checksum", async () => {
		const { key, delta } = await small();
		const [file = ""] = (await readdir(delta)).sort();
		const other = sha256(noise("other", 9)).digest("hex");
		await rename(
			path.join(delta, file),
			path.join(delta, `a.bin.${other}.enc`),
		);
		const result = await merge(key, delta);
		expect(result.stderr).toContain("does not begin with the checksum");
		expect([result.exitCode, result.left]).toEqual([3, []]);
	});

	test("says which file of a base folder is missing", async () => {
		const { delta } = await small();
		const empty = await memoryFolder();
		const result = await merge(empty, delta);
		expect(result.stderr).toContain(`no ${KEY}`);
		expect([result.exitCode, result.left]).toEqual([4, []]);
		const absent = await merge(path.join(empty, "absent"), delta);
		expect([absent.exitCode, absent.left]).toEqual([2, []]);
	});

	test("plan tells of files, and writes nothing", async () => {
		const { key, delta } = await small();
		const flags = ["--base", key, "--delta", delta];
		const { exitCode, stdout } = await run("plan", ...flags);
		expect(exitCode).toBe(0);
		expect(stdout).toMatch(/convention point-xor\nsum xor\n/);
		expect(stdout).toMatch(/output 4\.33 kB in 2 files\n {2}a\.bin +xor/);
		const json = JSON.parse((await run("plan", ...flags, "--json")).stdout);
		expect(json.plan.totals).toEqual({
			...{ tensors: 0, elements: 0, byteLength: 4328 },
		});
	});
});

test("techgpt decodes what has no header, and says that nothing tells a wrong key", async () => {
	const key = noise("key", 3000);
	const plain = noise("weights", 10_000);
	const base = await writeFiles(await memoryFolder(), { [KEY]: key });
	const delta = await writeFiles(await memoryFolder(), {
		[`pytorch_model.bin.${NO_BYTES}.enc`]: pointDecrypt(plain, key),
		"config.json": "{}",
	});
	const result = await merge(base, delta);
	expect(result.exitCode, result.stderr).toBe(0);
	expect(result.stderr).toContain("techgpt knows no checksum of its results");
	const expected = { "pytorch_model.bin": plain, "config.json": "{}" };
	const { convention } = await expectOutput(result.out, expected);
	expect(convention).toBe("techgpt");
});

describe("openbuddy", () => {
	const key = noise("key", 17 * MIB);
	const plain = noise("weights", 33 * MIB + 5);

	async function inputs() {
		return [
			await writeFiles(await memoryFolder(), { [KEY]: key }),
			await writeFiles(await memoryFolder(), {
				"pytorch_model.bin.enc": openBuddyDecrypt(plain, key),
				"config.json": "{}",
			}),
		] as const;
	}

	test("refuses a key that is not its publisher's", async () => {
		const result = await merge(...(await inputs()));
		expect(result.stderr).toContain("08cf0f43451cc4ae056e0b19e56c1fcf");
		expect(result.stderr).toContain(
			createHash("md5")
				.update(key.subarray(0, 16 * MIB))
				.digest("hex"),
		);
		expect([result.exitCode, result.left]).toEqual([4, []]);
	}, 60_000);

	test("goes on with it where that is allowed, and warns", async () => {
		const result = await merge(...(await inputs()), "--allow-unlikely");
		expect(result.exitCode, result.stderr).toBe(0);
		expect(result.stderr).toContain("08cf0f43451cc4ae056e0b19e56c1fcf");
		await expectOutput(result.out, {
			"pytorch_model.bin": plain,
			"config.json": "{}",
		});
	}, 60_000);
});
