import { execFileSync } from "node:child_process";
import { mkdirSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { nativeKernelFile, SOURCE_FOLDER } from "./location.ts";

/**
 * Compiles the native kernel for this machine: `node build.js [--optional]`. With `--optional`, where that
 * cannot be done it says so in one line and succeeds, because the WebAssembly kernel does the same work.
 */
const SOURCES = [
	...["addon.c", "crc32.c", "sha256.c"],
	...["sums.c", "x86.c", "neon.c", "other.c"],
];
const WINDOWS = process.platform === "win32";
const MAC = process.platform === "darwin";
// No contraction to fused operations, which round once where the sums must round twice.
const OPTIONS = [
	...["-std=c11", "-O3", "-ffp-contract=off", "-fno-fast-math"],
	...["-fvisibility=hidden", "-DNAPI_VERSION=8", "-Wall", "-Wextra"],
	...(WINDOWS ? [] : ["-fPIC"]),
	MAC ? "-bundle" : "-shared",
];

interface Headers {
	include_dir: string;
	def_paths: { node_api_def: string };
}

function findHeaders(): Headers {
	try {
		return createRequire(import.meta.url)("node-api-headers");
	} catch {
		throw new Error("the package node-api-headers is not installed");
	}
}

function findCompiler(): string {
	const named = process.env.CC ? [process.env.CC] : [];
	const names = [...named, ...(WINDOWS ? ["clang"] : ["cc", "gcc", "clang"])];
	const found = names.find((name) => {
		try {
			execFileSync(name, ["--version"], { stdio: "ignore" });
			return true;
		} catch {
			return false;
		}
	});
	if (!found) throw new Error(`no C compiler (${names.join(", ")})`);
	return found;
}

/** What tells the linker that the host program brings the functions of node_api.h. */
function linkArguments({ def_paths }: Headers, scratch: string): string[] {
	if (MAC) return ["-undefined", "dynamic_lookup"];
	if (!WINDOWS) return [];
	const library = path.join(scratch, "node_api.lib");
	const machine = process.arch === "arm64" ? "arm64" : "i386:x86-64";
	execFileSync("llvm-dlltool", [
		...["-d", def_paths.node_api_def, "-l", library, "-m", machine],
	]);
	return [library];
}

function build(): string {
	const compiler = findCompiler();
	const headers = findHeaders();
	const target = nativeKernelFile();
	const scratch = `${target}.${process.pid}`;
	mkdirSync(scratch, { recursive: true });
	try {
		const made = path.join(scratch, "kernel.node");
		const sources = SOURCES.map((name) => path.join(SOURCE_FOLDER, name));
		const include = `-I${headers.include_dir}`;
		const link = linkArguments(headers, scratch);
		const all = [...OPTIONS, include, "-o", made, ...sources, ...link];
		execFileSync(compiler, all, { stdio: "pipe" });
		renameSync(made, target); // at once, for a kernel that is in use
	} finally {
		rmSync(scratch, { recursive: true, force: true });
	}
	return `native kernel built with ${compiler}: ${path.relative(process.cwd(), target)}`;
}

function reasonOf(error: unknown): string {
	const { stderr = "", message } = error as Error & { stderr?: Buffer };
	const lines = `${stderr}\n${message}`.split("\n");
	return (lines.find((line) => /error/i.test(line)) ?? message).trim();
}

function buildIfPossible(): string {
	if (process.env.MERGE_DELTA_SKIP_NATIVE === "1")
		return "native kernel not built: MERGE_DELTA_SKIP_NATIVE is 1";
	try {
		return build();
	} catch (error) {
		return `native kernel not built: ${reasonOf(error)}; the WebAssembly kernel does its work`;
	}
}

const optional = process.argv.includes("--optional");
process.stderr.write(`${optional ? buildIfPossible() : build()}\n`);
