import { PassThrough } from "node:stream";
import { stripVTControlCharacters } from "node:util";
import { expect, onTestFinished, test, vi } from "vitest";
import { openFetchProgress } from "../../src/cli/fetch-progress.ts";
import { Terminal } from "../../src/cli/terminal.ts";

function watch({ isTTY = false, quiet = false }) {
	const stderr = Object.assign(new PassThrough(), { isTTY, columns: 120 });
	let said = "";
	stderr.on("data", (bytes) => (said += bytes));
	const terminal = new Terminal(
		{ json: false, quiet, verbose: false, color: false, annotations: false },
		{ stdout: new PassThrough(), stderr },
	);
	const progress = openFetchProgress(terminal);
	const update = (path: string, fileBytes: number, bytes: number) =>
		progress.update({
			...{ repository: "org/m", path, fileBytes, bytes },
			...{ fileTotalBytes: 1000, totalBytes: 2000 },
		});
	return { update, progress, said: () => stripVTControlCharacters(said) };
}

test("a terminal shows a bar for all, and one for each file on its way", async () => {
	vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
	onTestFinished(() => void vi.useRealTimers());
	const { update, progress, said } = watch({ isTTY: true });
	update("a\u001b[2J", 100, 100);
	update("b", 200, 300);
	vi.advanceTimersByTime(1000); // it draws now and then
	progress.stop();
	progress.stop();
	await new Promise(setImmediate);
	expect(said()).toMatch(/15% 300 B\/2.00 kB .* all/);
	expect(said()).toMatch(/10% 100 B\/1.00 kB .*org\/m\/a\\u\{1b\}\[2J/);
	expect(said()).toMatch(/20% 200 B\/1.00 kB .*org\/m\/b/);
});

test("the speed is of what came since the first was told", async () => {
	vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
	onTestFinished(() => void vi.useRealTimers());
	const { update, progress, said } = watch({ isTTY: true });
	update("a", 100, 100);
	vi.advanceTimersByTime(2000);
	update("a", 900, 900);
	vi.advanceTimersByTime(1000); // it draws now and then
	progress.stop();
	await new Promise(setImmediate);
	expect(said()).toMatch(/45% 900 B\/2.00 kB 400 B\/s .* all/);
});

test("elsewhere a line tells each file that came, not those that were there", async () => {
	const { update, progress, said } = watch({});
	update("there", 1000, 1000);
	update("new", 500, 1500);
	update("new", 1000, 2000);
	progress.stop();
	await new Promise(setImmediate);
	expect(said()).toBe("org/m/new 1.00 kB (2.00 kB of 2.00 kB)\n");
});

test("nothing when quiet", async () => {
	const { update, progress, said } = watch({ quiet: true });
	update("new", 500, 1500);
	update("new", 1000, 2000);
	progress.stop();
	await new Promise(setImmediate);
	expect(said()).toBe("");
});
