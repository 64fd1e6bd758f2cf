import { spawnSync } from "node:child_process";
import {
	cp,
	mkdir,
	readdir,
	readFile,
	symlink,
	writeFile,
} from "node:fs/promises";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { FIXTURES, scratchFolder } from "./run.ts";

const CORPUS = path.join(FIXTURES, "invalid");
const MAIN = fileURLToPath(
	new URL("../../dist/src/cli/main.js", import.meta.url),
);
const CALLS = [
	...["open", "openat", "openat2", "creat", "execve", "execveat"],
	...["fork", "vfork", "clone", "clone3", "socket", "connect", "bind"],
];
/** Kinds of fault that try to lead a reader elsewhere, or to make it run something. */
const HOSTILE = /^0(4\d|5\d|84|89|9[0-3])-|^1(0[0-2]|09|14|20|22)-/;

/** In one process, because starting it is most of the time: merge each folder with itself, as the command does. */
const PROGRAM = `
	const [main, out, ...folders] = process.argv.slice(1);
	const command = await import(main);
	const ends = [];
	for (const [i, folder] of folders.entries())
		ends.push(await command.main(["--base", folder, "--delta", folder, "--out", out + i, "--allow-unlikely", "--quiet"]));
	console.log(JSON.stringify(ends));
`;

interface Traced {
	/** exit codes, one for each folder */
	ends: number[];
	opened: string[];
	/** started processes, and sockets to anywhere but this machine */
	others: string[];
}

async function mergeTraced(folders: readonly string[]): Promise<Traced> {
	const scratch = await scratchFolder();
	const trace = path.join(scratch, "trace");
	const program = ["--input-type=module", "-e", PROGRAM];
	const { stdout, stderr } = spawnSync(
		"strace",
		[
			...["-f", "--seccomp-bpf", "-qq", "-s", "4096", "-o", trace],
			...["-e", `trace=${CALLS}`, "-e", "signal=none", process.execPath],
			...[...program, pathToFileURL(MAIN).href, path.join(scratch, "out")],
			...folders,
		],
		{ encoding: "utf8", maxBuffer: 2 ** 26 },
	);
	const lines = (await readFile(trace, "utf8")).split("\n");
	// The first line is the start of the program itself.
	const itself = `/proc/${lines[0]?.split(" ")[0]}/`;
	const opened = lines.flatMap((line) => {
		const [, file] =
			/\b(?:open|openat|openat2|creat)\((?:[^,]*, )?"((?:[^"\\]|\\.)*)"/.exec(
				line,
			) ?? [];
		return file === undefined
			? []
			: [
					file.startsWith(scratch)
						? "the output"
						: file.replace(itself, "/proc/self/"),
				];
	});
	const others = lines
		.slice(1)
		.filter((line) =>
			/\b(execve|execveat|fork|vfork|connect)\(|socket\(AF_(?!UNIX)|clone3?\((?!.*CLONE_THREAD).*flags/.test(
				line,
			),
		);
	expect(stdout, stderr).not.toBe("");
	return {
		ends: JSON.parse(stdout.trim().split("\n").at(-1) ?? ""),
		opened,
		others,
	};
}

/** Read by glibc when it gives memory back, which it does now and then. */
const OF_MALLOC = "/proc/sys/vm/overcommit_memory";

test("hostile models are read where they lie and nowhere else, and start nothing", async (context) => {
	if (process.platform !== "linux" || spawnSync("strace", ["-V"]).status !== 0)
		return context.skip(
			"no strace here, so nobody has looked at the system calls",
		);
	const names = (await readdir(CORPUS)).filter((name) => HOSTILE.test(name));
	expect(names.length).toBeGreaterThan(200);
	const folders = names.map((name) => path.join(CORPUS, name));
	const links = await linksOut();
	const sound = ["llama-f16/base", "torch/merge/base"].map((name) =>
		path.join(FIXTURES, name),
	);
	// What Node and the program open for themselves: the same for models that nobody has tampered with.
	const own = new Set((await mergeTraced(sound)).opened);
	own.add(OF_MALLOC);
	const { ends, opened, others } = await mergeTraced([...folders, ...links]);
	expect(ends).toHaveLength(folders.length + links.length);
	expect(ends.slice(-links.length).every((end) => end === 3)).toBe(true);
	expect(others).toEqual([]);
	const elsewhere = opened.filter(
		(file) =>
			!own.has(file) &&
			![...folders, ...links].some(
				(folder) => file === folder || file.startsWith(folder + path.sep),
			),
	);
	expect(elsewhere).toEqual([]);
	const inModels = opened.filter((file) => file.startsWith(CORPUS));
	expect(inModels.length).toBeGreaterThan(folders.length);
}, 120_000);

/** Models whose side files link to what lies outside, or whose index names it; all of it is there. */
async function linksOut(): Promise<string[]> {
	const scratch = await scratchFolder();
	const secret = path.join(scratch, "secret");
	await writeFile(secret, "secret");
	const model = async (name: string) => {
		const folder = path.join(scratch, name);
		await mkdir(folder);
		const file = "model.safetensors";
		const from = path.join(FIXTURES, "edges-f16", "base", file);
		await cp(from, path.join(folder, file));
		return folder;
	};
	const [config, tokenizer] = [await model("config"), await model("tokenizer")];
	await symlink(secret, path.join(config, "config.json"));
	await symlink("../secret", path.join(tokenizer, "tokenizer.json"));
	const index = path.join(scratch, "index");
	await mkdir(index);
	const outside = path.join(scratch, "outside.safetensors");
	await cp(path.join(config, "model.safetensors"), outside);
	await writeFile(
		path.join(index, "model.safetensors.index.json"),
		'{"weight_map":{"a":"../outside.safetensors"}}',
	);
	return [config, tokenizer, index];
}
