import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { isLocalDisk } from "../../src/io/direct-io.ts";
import { nativeKernelFile } from "../../src/kernel/native/location.ts";
import { whyNot } from "../../src/kernel/select.ts";
import { scratchFolder } from "../end-to-end/run.ts";

const HAS_NATIVE = whyNot("native") === null;
const addon = HAS_NATIVE
	? createRequire(import.meta.url)(nativeKernelFile())
	: null;
const CAN_TELL =
	HAS_NATIVE &&
	process.platform === "linux" &&
	(await isLocalDisk(tmpdir())) &&
	canRun("fincore", "--version");

function canRun(command: string, ...args: string[]): boolean {
	try {
		execFileSync(command, args, { stdio: "ignore" });
		return true;
	} catch {
		return false;
	}
}

/** How many bytes of a file the page cache holds. */
function cachedBytes(file: string): number {
	const args = ["--bytes", "--noheadings", "--output", "RES", file];
	return Number(execFileSync("fincore", args, { encoding: "utf8" }));
}

test.runIf(CAN_TELL)(
	"a stretch of a file is let go, and nothing beside it",
	async () => {
		const file = path.join(await scratchFolder(), "f");
		const fd = openSync(file, "wx+");
		writeSync(fd, randomBytes(2 ** 23));
		fsyncSync(fd); // only what is on the disk can be let go
		expect(cachedBytes(file)).toBe(2 ** 23);
		addon.dropPages(fd, 2 ** 21, 2 ** 22);
		expect(cachedBytes(file)).toBe(2 ** 22);
		closeSync(fd);
	},
);

test.runIf(HAS_NATIVE)("every argument is checked", () => {
	for (const given of [
		[],
		[0, 0],
		["0", 0, 1],
		[-1, 0, 1],
		[0, -1, 1],
		[0, 0, 0],
		[0, "0", 1],
		[0, 0, "1"],
	])
		expect(() => addon.dropPages(...given)).toThrow(RangeError);
});
