import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { expect, onTestFinished, test } from "vitest";
import { isRunning, mayRun, thisProcess } from "../../src/io/owner.ts";

test("a process is there as long as it runs", async () => {
	const self = await thisProcess();
	expect(await mayRun(self, self)).toBe(true);
	const child = spawn("sleep", ["1000"]);
	expect(await isRunning(child.pid ?? 0)).toBe(true);
	child.kill("SIGKILL");
	await once(child, "close");
	expect(await isRunning(child.pid ?? 0)).toBe(false);
});

test.runIf(process.platform === "linux")(
	"one that has ended is gone, though its parent never asks",
	async () => {
		const parent = spawn("sh", ["-c", "true & echo $!; exec sleep 1000"]);
		onTestFinished(() => void parent.kill("SIGKILL"));
		const [line] = await once(parent.stdout, "data");
		const stat = `/proc/${Number(`${line}`)}/stat`;
		while (!/\) Z /.test(await readFile(stat, "utf8")));
		expect(await isRunning(Number(`${line}`))).toBe(false);
	},
);
