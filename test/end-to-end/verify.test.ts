import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { appendFileSync } from "node:fs";
import {
	appendFile,
	chmod,
	cp,
	mkdir,
	readFile,
	rename,
	rm,
	symlink,
	writeFile,
} from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { exitCodeOf } from "../../src/cli/exit-code.ts";
import { verify } from "../../src/index.ts";
import { LLAMA, stateOf, useMergedModel } from "./merged-model.ts";
import { memoryFolder, run, runHeldByPermissions } from "./run.ts";

const SUMS = "SHA256SUMS";
const MANIFEST = "merge-delta.json";
const SHARD = "model-00002-of-00003.safetensors";
const ZEROS = "0".repeat(64);
const BIN = fileURLToPath(
	new URL("../../dist/bin/merge-delta.cjs", import.meta.url),
);
const posix = test.skipIf(process.platform === "win32");
const mergedModel = useMergedModel();

async function edit(file: string, change: (text: string) => string) {
	await writeFile(file, change(await readFile(file, "utf8")));
}

async function flipLastBit(file: string) {
	const bytes = await readFile(file);
	bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
	await writeFile(file, bytes);
}

/** Put a file in a model, or other bytes in its place, and list it as it now is. */
async function putListed(out: string, name: string, bytes: string | Buffer) {
	await writeFile(path.join(out, name), bytes);
	const sum = createHash("sha256").update(bytes).digest("hex");
	const others = (text: string) =>
		text.split("\n").filter((line) => line && !line.endsWith(`  ${name}`));
	await edit(path.join(out, SUMS), (text) =>
		[...others(text), `${sum}  ${name}`, ""].join("\n"),
	);
}

/** What may happen to a folder; what `verify` must end with, and say. */
const FAULTS: [
	name: string,
	exitCode: number,
	says: string,
	spoil: (out: string) => Promise<unknown>,
][] = [
	["nothing", 0, "verified", async () => {}],
	[
		"case 204: a flipped bit",
		1,
		`${SHARD}: FAILED`,
		(out) => flipLastBit(path.join(out, SHARD)),
	],
	[
		"case 204: a flipped bit in the manifest",
		1,
		`${MANIFEST}: FAILED`,
		(out) => flipLastBit(path.join(out, MANIFEST)),
	],
	[
		"case 205: a missing file",
		1,
		"config.json: FAILED open or read",
		(out) => rm(path.join(out, "config.json")),
	],
	[
		"case 206: a file not listed",
		1,
		"extra: not in SHA256SUMS",
		(out) => writeFile(path.join(out, "extra"), ""),
	],
	[
		"case 206: a file not listed, deep in a folder",
		1,
		"a/b/extra: not in SHA256SUMS",
		async (out) => {
			await mkdir(path.join(out, "a", "b"), { recursive: true });
			await writeFile(path.join(out, "a", "b", "extra"), "");
		},
	],
	[
		"case 206: an empty folder",
		1,
		"a: not in SHA256SUMS",
		(out) => mkdir(path.join(out, "a")),
	],
	[
		"a listed file in a folder",
		0,
		"a/b: OK",
		async (out) => {
			await mkdir(path.join(out, "a"));
			await putListed(out, "a/b", "b");
		},
	],
	[
		"case 207: a malformed line",
		1,
		"SHA256SUMS, line 10: not a checksum",
		(out) => appendFile(path.join(out, SUMS), "what?\n"),
	],
	[
		"case 208: no line",
		1,
		"nothing was verified",
		(out) => writeFile(path.join(out, SUMS), ""),
	],
	[
		"case 208: only comments",
		1,
		"nothing was verified",
		(out) => writeFile(path.join(out, SUMS), "# none\n\n# at all\n"),
	],
	[
		"case 208: only malformed lines",
		1,
		"nothing was verified",
		(out) => writeFile(path.join(out, SUMS), "what?\n"),
	],
	[
		"case 208: no checksum file",
		1,
		"nothing was verified",
		(out) => rm(path.join(out, SUMS)),
	],
	["no folder", 2, "no such folder", (out) => rm(out, { recursive: true })],
	...["../x", "a/../../x", "/etc/hostname", "C:\\x", "..\\x"].map(
		(name): (typeof FAULTS)[number] => [
			`case 209: the name ${name}`,
			3,
			"leads out of the folder",
			(out) => appendFile(path.join(out, SUMS), `${ZEROS}  ${name}\n`),
		],
	),
	[
		"case 210: CRLF, capitals, asterisks",
		0,
		"verified",
		(out) =>
			edit(path.join(out, SUMS), (t) =>
				t
					.replace(/^\w+/gm, (d) => d.toUpperCase())
					.replaceAll("  ", " *")
					.replaceAll("\n", "\r\n"),
			),
	],
	[
		"case 210: BSD lines",
		0,
		"verified",
		(out) =>
			edit(path.join(out, SUMS), (t) =>
				t.replace(/^(\w+) {2}(.*)$/gm, "SHA256 ($2) = $1"),
			),
	],
	[
		"case 211: a line twice",
		0,
		"verified",
		(out) => edit(path.join(out, SUMS), (t) => t + t),
	],
	[
		"case 211: two digests of one file",
		3,
		"second, different checksum",
		(out) => appendFile(path.join(out, SUMS), `${ZEROS}  config.json\n`),
	],
	...[32, 40, 56, 96, 128].map((digits): (typeof FAULTS)[number] => [
		`case 212: a checksum of ${digits} digits`,
		3,
		`another checksum than SHA-256, expected 64 hexadecimal digits, found ${digits}`,
		(out) =>
			appendFile(path.join(out, SUMS), `${"0".repeat(digits)}  config.json\n`),
	]),
	[
		"case 212: a BSD line of MD5",
		3,
		"another checksum than SHA-256, expected 64 hexadecimal digits, found MD5. A list of MD5 checksums is checked with --algorithm md5",
		(out) =>
			appendFile(
				path.join(out, SUMS),
				`MD5 (config.json) = ${"0".repeat(32)}\n`,
			),
	],
	[
		"case 214: a folder in a file's place",
		1,
		"config.json: FAILED open or read",
		async (out) => {
			await rm(path.join(out, "config.json"));
			await cp(path.join(LLAMA, "base"), path.join(out, "config.json"), {
				recursive: true,
			});
		},
	],
	[
		"case 218: a manifest of a newer version",
		3,
		"a manifest of another version than this merge-delta knows, expected schemaVersion 1, found 2. Use a newer merge-delta",
		async (out) => {
			const text = await readFile(path.join(out, MANIFEST), "utf8");
			const newer = text.replace('"schemaVersion": 1', '"schemaVersion": 2');
			await putListed(out, MANIFEST, newer);
		},
	],
	[
		"case 219: a signature that is not listed",
		1,
		"model.sig: not in SHA256SUMS",
		(out) => writeFile(path.join(out, "model.sig"), "{}"),
	],
	[
		"case 219: a listed signature is said not to be checked",
		0,
		"agree; signatures were not checked: model.sig",
		(out) => putListed(out, "model.sig", "{}"),
	],
	[
		"case 220: sums that agree with shards whose names were swapped",
		1,
		"another shard",
		async (out) => {
			const [a, b] = [SHARD, "model-00003-of-00003.safetensors"];
			await rename(path.join(out, a), path.join(out, "x"));
			await rename(path.join(out, b), path.join(out, a));
			await rename(path.join(out, "x"), path.join(out, b));
			await edit(path.join(out, SUMS), (t) =>
				t.replace(a, "x").replace(b, a).replace("x\n", `${b}\n`),
			);
		},
	],
	[
		"case 220: sums and index that agree on tensors in the wrong shards",
		1,
		"is not in its shard model-00001-of-00003.safetensors",
		async (out) => {
			const name = "model.safetensors.index.json";
			const text = await readFile(path.join(out, name), "utf8");
			await putListed(out, name, text.replaceAll("00002-of", "00001-of"));
		},
	],
	[
		"sums of a shard that are not those of the manifest",
		1,
		`${MANIFEST} says otherwise of config.json than`,
		(out) => putListed(out, "config.json", "{}"),
	],
];

describe("verify", () => {
	test.each(FAULTS)("%s → exit %i", async (_, exitCode, says, spoil) => {
		const out = await mergedModel();
		await spoil(out);
		const before = await stateOf(path.dirname(out));
		const result = await run("verify", out);
		expect(result.stdout + result.stderr).toContain(says);
		expect(result.exitCode).toBe(exitCode);
		expect(await stateOf(path.dirname(out))).toEqual(before);
	});

	test.each(FAULTS)("case 216: %s, as JSON", async (_, exitCode, __, spoil) => {
		const out = await mergedModel();
		await spoil(out);
		const result = await run("verify", out, "--json");
		expect(result.exitCode).toBe(exitCode);
		const told = JSON.parse(result.stdout);
		expect(told).toMatchObject({ schemaVersion: 1, ok: exitCode === 0 });
		if (exitCode > 1) expect(told.error.exitCode).toBe(exitCode);
	});

	test("case 206: a file not listed may be allowed", async () => {
		const out = await mergedModel();
		await writeFile(path.join(out, "extra"), "");
		expect((await run("verify", out, "--allow-extra")).exitCode).toBe(0);
	});

	test("case 206: a link to a folder elsewhere is a file that is not listed", async () => {
		const out = await mergedModel();
		await symlink(path.join(LLAMA, "base"), path.join(out, "a"));
		const { exitCode, stdout } = await run("verify", out);
		expect(stdout).toContain("a: not in SHA256SUMS");
		expect(exitCode).toBe(1);
	});

	test("case 213: a file that changes while it is hashed → exit 7", async () => {
		const out = await mergedModel();
		// Asked before every read, and so after the file was opened.
		const signal = {
			get aborted() {
				appendFileSync(path.join(out, "config.json"), " ");
				return false;
			},
		} as AbortSignal;
		const failure = await verify(out, { signal }).catch((error) => error);
		expect(failure.message).toContain("the file changed while it was read");
		expect(exitCodeOf(failure)).toBe(7);
	});

	posix("case 214: a file that may not be read", async () => {
		const out = await mergedModel();
		await chmod(path.join(out, "config.json"), 0);
		await chmod(path.dirname(out), 0o755);
		const { status, stdout } = runHeldByPermissions("verify", out);
		expect(stdout).toContain("config.json: FAILED open or read\n");
		expect(status).toBe(1);
	});

	posix("case 214: a pipe in a file's place does not hang", async () => {
		const out = await mergedModel();
		await rm(path.join(out, "config.json"));
		execFileSync("mkfifo", [path.join(out, "config.json")]);
		const { exitCode, stdout } = await run("verify", out);
		expect(stdout).toContain("config.json: FAILED open or read\n");
		expect(exitCode).toBe(1);
	});

	posix("case 215: an output that nobody reads", async () => {
		const out = await mergedModel();
		const script = `"$0" "$1" verify "$2" | true; echo "\${PIPESTATUS[0]}"`;
		const { stdout, stderr } = spawnSync(
			"bash",
			["-c", script, process.execPath, BIN, out],
			{ encoding: "utf8" },
		);
		expect([stdout, stderr]).toEqual(["141\n", ""]);
	});

	test.runIf(process.platform === "linux")(
		"case 215: an output that cannot be written",
		async () => {
			const out = await mergedModel();
			const script = `"$0" "$1" verify "$2" > /dev/full`;
			const { status, stderr } = spawnSync(
				"bash",
				["-c", script, process.execPath, BIN, out],
				{ encoding: "utf8" },
			);
			expect(stderr).toBe("error standard output: writing failed (ENOSPC)\n");
			expect(status).toBe(6);
		},
	);

	test("--quiet tells failures alone", async () => {
		const out = await mergedModel();
		await flipLastBit(path.join(out, SHARD));
		const { stdout, stderr } = await run("verify", out, "--quiet");
		expect(stdout).toBe(
			`${SHARD}: FAILED\nnot verified ${out}: 1 of 9 failed, 0 other problems\n`,
		);
		expect(stderr).toBe("");
	});
});

test("a file is no folder → exit 2", async () => {
	const file = path.join(await mergedModel(), SHARD);
	const { exitCode, stderr } = await run("verify", file);
	expect(stderr).toContain("not a folder. Name the folder of a model; one");
	expect(exitCode).toBe(2);
});

test("a folder of torch files has checksums, and no structure that is claimed", async () => {
	const folder = await memoryFolder();
	await writeFile(path.join(folder, "pytorch_model.bin"), "weights");
	await writeFile(path.join(folder, SUMS), "");
	await putListed(folder, "pytorch_model.bin", "weights");
	const { exitCode, stdout } = await run("verify", folder);
	expect(stdout).toMatch(/^verified .*: 1 file$/m);
	expect(exitCode).toBe(0);
});
