import { readFile } from "node:fs/promises";

/**
 * What a piece of work took: `cpuSeconds` user and system, `peakMiB` of the whole process, both null where the
 * system does not tell.
 * @typedef {{ seconds: number, cpuSeconds: number | null, peakMiB: number | null }} Usage
 */

/**
 * Do some work and print what it took, as JSON, for the process that measures.
 * @param {() => Promise<unknown>} work
 */
export async function report(work) {
	const [started, cpu] = [performance.now(), process.cpuUsage()];
	await work();
	const seconds = (performance.now() - started) / 1000;
	const { user, system } = process.cpuUsage(cpu);
	// Not maxRSS: a process inherits that of the one which started it.
	const status = await readFile("/proc/self/status", "utf8").catch(() => "");
	const peak = /VmHWM:\s+(\d+)/.exec(status)?.[1];
	const peakMiB = peak === undefined ? null : Number(peak) / 1024;
	const cpuSeconds = (user + system) / 1e6;
	console.log(JSON.stringify({ seconds, cpuSeconds, peakMiB }));
}
