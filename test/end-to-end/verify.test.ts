import { execFileSync } from "node:child_process";
import {
	appendFile,
	cp,
	readFile,
	rename,
	rm,
	writeFile,
} from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { FIXTURES, run, scratchFolder } from "./run.ts";

const LLAMA = path.join(FIXTURES, "llama-f16");
const SUMS = "SHA256SUMS";
const SHARD = "model-00002-of-00003.safetensors";

/** A fresh merged model to spoil. */
async function mergedModel(): Promise<string> {
	const out = path.join(await scratchFolder(), "out");
	const sides = ["base", "delta"].flatMap((s) => [
		`--${s}`,
		path.join(LLAMA, s),
	]);
	expect((await run(...sides, "--out", out)).exitCode).toBe(0);
	return out;
}

async function edit(file: string, change: (text: string) => string) {
	await writeFile(file, change(await readFile(file, "utf8")));
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
		async (out) => {
			const bytes = await readFile(path.join(out, SHARD));
			bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
			await writeFile(path.join(out, SHARD), bytes);
		},
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
		"case 207: a malformed line",
		1,
		"not a checksum",
		(out) => appendFile(path.join(out, SUMS), "what?\n"),
	],
	[
		"case 208: no line",
		1,
		"nothing was verified",
		(out) => writeFile(path.join(out, SUMS), "# none\n"),
	],
	[
		"no checksum file",
		1,
		"nothing was verified",
		(out) => rm(path.join(out, SUMS)),
	],
	["no folder", 2, "no such folder", (out) => rm(out, { recursive: true })],
	[
		"case 209: a name outside",
		3,
		"leads out of the folder",
		(out) => appendFile(path.join(out, SUMS), `${"0".repeat(64)}  ../x\n`),
	],
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
		(out) =>
			appendFile(path.join(out, SUMS), `${"0".repeat(64)}  config.json\n`),
	],
	[
		"case 212: MD5",
		3,
		"not a SHA-256 checksum",
		(out) =>
			appendFile(path.join(out, SUMS), `${"0".repeat(32)}  config.json\n`),
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
];

describe("verify", () => {
	test.each(FAULTS)("%s → exit %i", async (_, exitCode, says, spoil) => {
		const out = await mergedModel();
		await spoil(out);
		const result = await run("verify", out);
		expect(result.stdout + result.stderr).toContain(says);
		expect(result.exitCode).toBe(exitCode);
	});

	test("a file not listed may be allowed", async () => {
		const out = await mergedModel();
		await writeFile(path.join(out, "extra"), "");
		expect((await run("verify", out, "--allow-extra")).exitCode).toBe(0);
	});

	test("a failure is one JSON document", async () => {
		const out = await mergedModel();
		await rm(path.join(out, "config.json"));
		const { stdout, exitCode } = await run("verify", out, "--json");
		expect(exitCode).toBe(1);
		expect(JSON.parse(stdout)).toMatchObject({ schemaVersion: 1, ok: false });
	});
});

test.runIf(process.platform === "linux")(
	"sha256sum accepts the checksums of a merged model",
	async () => {
		const said = execFileSync("sha256sum", ["-c", "--strict", SUMS], {
			cwd: await mergedModel(),
			encoding: "utf8",
		});
		expect(said.trim().split("\n")).toHaveLength(9);
	},
);
