import { formatBytes } from "./format.ts";
import type { Terminal } from "./terminal.ts";

/** Say what of an earlier run is there, which takes a while to look at. */
export function tellResume(
	{ byteLength, totalBytes }: { byteLength: number; totalBytes: number },
	terminal: Terminal,
): void {
	terminal.note(
		`resuming: ${formatBytes(byteLength)} of ${formatBytes(totalBytes)} are there, and are checked now`,
	);
}
