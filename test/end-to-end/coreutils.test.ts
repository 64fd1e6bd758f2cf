import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { expect, test } from "vitest";
import { run, scratchFolder } from "./run.ts";

const sumOf = (text: string, algorithm = "sha256") =>
	createHash(algorithm).update(text).digest("hex");

/** Files by name; each holds its own name. */
const NAMES = [
	...["a", "b c", " begins with a blank", "ends with one ", "back\\slash"],
	...["*star", "(parens) = x", "é", "new\nline", "#hash", "-", "sub/file"],
];
const [A, WRONG] = [sumOf("a"), "0".repeat(64)];

function gnu(name: string, sum = sumOf(name)): string {
	const escaped = name.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
	return `${escaped === name ? "" : "\\"}${sum}  ${escaped}\n`;
}

function bsd(name: string): string {
	const escaped = name.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
	return `${escaped === name ? "" : "\\"}SHA256 (${escaped}) = ${sumOf(name)}\n`;
}

/** Lists of checksums that `sha256sum -c --strict` and `verify` must judge alike. */
const LISTS: [name: string, text: string][] = [
	["GNU lines of odd names", NAMES.map((name) => gnu(name)).join("")],
	["BSD lines of odd names", NAMES.map(bsd).join("")],
	["wrong sums", NAMES.map((name) => gnu(name, WRONG)).join("")],
	["names of no file", gnu("a") + gnu("nothing") + gnu("no\nthing")],
	["CRLF", (gnu("a") + gnu("b c")).replaceAll("\n", "\r\n")],
	["upper-case digits", `${A.toUpperCase()}  a\n`],
	["an asterisk", `${A} *a\n`],
	["a tab", `${A}\t a\n`],
	["blanks before a line", ` \t${A}  a\n`],
	["no end of the last line", `${A}  a`],
	["comments and empty lines", `# c\n\n\r\n${A}  a\n#\n`],
	["a comment behind a blank", ` # c\n${A}  a\n`],
	["a line of blanks", `  \n${A}  a\n`],
	["a line twice", `${A}  a\n${A}  a\n`],
	["BSD's reversed lines", `${A} a\n${sumOf("b c")} b c\n`],
	["one of them after a GNU line", `${A}  a\n${sumOf("b c")} b c\n`],
	["a GNU line after one of them", `${A} a\n${A}  a\n`],
	["a name that is an asterisk alone", `${A} *\n${A}  a\n`],
	["OpenSSL's lines", `SHA256(a)= ${A}\nSHA256 (a)=${A}\n`],
	["a BSD line behind blanks", `  SHA256 (a) = ${A}\n`],
	["a BSD line in lower case", `sha256 [a] = ${A}\n${A}  a\n`],
	["blanks after a BSD line", `SHA256 (a) = ${A} \n${A}  a\n`],
	["an escape that means nothing", `\\${A}  a\\x\n${A}  a\n`],
	["a backslash at the end", `\\${A}  a\\\n${A}  a\n`],
	["an escape without one", `\\${A}  a\n`],
	["a mark of the byte order", `\ufeff${A}  a\n${A}  a\n`],
	["a line that is no checksum", `${A}  a\nwhat?\n`],
	["no name", `${A}\n${A}  a\n`],
	["too few digits for any", `${A.slice(0, 20)}  a\n${A}  a\n`],
	["nothing", ""],
	["nothing but a comment", "# c\n"],
];

/** Lines of files by name, sorted: the two read files in another order. */
function verdictsIn(said: string): string[] {
	const lines = said.split("\n").filter((line) => /: (OK|FAILED)/.test(line));
	return [...new Set(lines)].sort();
}

/** A folder of the files that are named, and of no others. */
async function folderOf(names: Iterable<string>): Promise<string> {
	const folder = await scratchFolder();
	for (const name of names) {
		await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
		await writeFile(path.join(folder, name), name);
	}
	return folder;
}

test.runIf(process.platform === "linux").each(LISTS)(
	"case 210: %s: the same verdicts as coreutils, and the same status",
	async (_, text) => {
		const folder = await folderOf(NAMES);
		await writeFile(path.join(folder, "SHA256SUMS"), text);
		const { stdout: theirs, status } = spawnSync(
			"sha256sum",
			["-c", "--strict", "SHA256SUMS"],
			{ cwd: folder, encoding: "utf8", input: "-" },
		);
		const ours = await run("verify", folder, "--allow-extra");
		expect(verdictsIn(ours.stdout)).toEqual(verdictsIn(theirs));
		expect(ours.exitCode).toBe(status);
	},
);

test.runIf(process.platform === "linux")(
	"md5sum's lists get the same verdicts as from md5sum",
	async () => {
		const folder = await folderOf(["a", "b c"]);
		const list = `${sumOf("a", "md5")}  a\n${"0".repeat(32)}  b c\n`;
		await writeFile(path.join(folder, "MD5SUMS"), list);
		const { stdout: theirs, status } = spawnSync(
			"md5sum",
			["-c", "--strict", "MD5SUMS"],
			{ cwd: folder, encoding: "utf8" },
		);
		const ours = await run("verify", folder, "--algorithm", "md5");
		expect(verdictsIn(ours.stdout)).toEqual(verdictsIn(theirs));
		expect([ours.exitCode, status]).toEqual([1, 1]);
	},
);
