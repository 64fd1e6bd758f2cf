import { VERSION } from "../version.ts";
import type { Streams } from "./terminal.ts";

/**
 * Run the command.
 *
 * @param args  without the interpreter and the script
 * @returns the exit code
 */
export async function main(
	args: readonly string[],
	streams: Streams = process,
): Promise<number> {
	// Scripts ask for it often, and all the rest takes longer to load than Node itself.
	if (args.length === 1 && args[0] === "--version") {
		streams.stdout.write(`${VERSION}\n`);
		return 0;
	}
	const { runCommandLine } = await import("./command-line.ts");
	return runCommandLine(args, streams);
}
