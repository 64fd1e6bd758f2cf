import type { RunPerformance } from "../index.ts";
import { plural } from "./format.ts";
import type { Terminal } from "./terminal.ts";

/** Where the time went, for those who ask. */
export function tellPerformance(
	{ kernel, threads, directInputs, seconds }: RunPerformance,
	terminal: Terminal,
): void {
	terminal.note(
		`kernel ${kernel}, ${plural(threads, "thread")}, ${plural(directInputs, "input")} read past the page cache`,
	);
	const stages = Object.entries(seconds).map(
		([stage, spent]) => `${stage} ${spent.toFixed(2)} s`,
	);
	terminal.note(`${stages.join(", ")} (side by side)`);
}
