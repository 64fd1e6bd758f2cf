import { createRequire } from "node:module";
import path from "node:path";

const ROOT = path.dirname(createRequire(import.meta.url).resolve("#package"));

/** The C sources, wherever this code was compiled to. */
export const SOURCE_FOLDER = path.join(ROOT, "src", "kernel", "native");

/** Where the native kernel for this machine lies: `prebuilds/linux-x64-musl/kernel.node`. */
export function nativeKernelFile(): string {
	machine ??= nameMachine();
	return path.join(ROOT, "prebuilds", machine, "kernel.node");
}

/** Asked once: to tell the C libraries apart takes milliseconds. */
let machine: string | undefined;

function nameMachine(): string {
	const libc = process.platform === "linux" && !isGlibc() ? "-musl" : "";
	return `${process.platform}-${process.arch}${libc}`;
}

function isGlibc(): boolean {
	const report = process.report as typeof process.report & {
		excludeNetwork?: boolean;
	};
	report.excludeNetwork = true; // which may take seconds
	const { header } = report.getReport() as unknown as {
		header: { glibcVersionRuntime?: string };
	};
	return header.glibcVersionRuntime !== undefined;
}
