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
		const parent = spawn("sh", ["-c", "sleep 1000 & echo $!; exec sleep 1000"]);
		onTestFinished(() => void parent.kill("SIGKILL"));
		const [line] = await once(parent.stdout, "data");
		const pid = Number(`${line}`);
		// A shell would still ask; what it becomes never does.
		const command = `/proc/${parent.pid}/comm`;
		while ((await readFile(command, "utf8")) !== "sleep\n");
		process.kill(pid, "SIGKILL");
		while (!/\) Z /.test(await readFile(`/proc/${pid}/stat`, "utf8")));
		expect(await isRunning(pid)).toBe(false);
	},
);
