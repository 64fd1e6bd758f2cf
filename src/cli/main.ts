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
	const output = watchOutput(streams);
	const { runCommandLine } = await import("./command-line.ts");
	const exitCode = await runCommandLine(args, streams);
	return output.isClosed ? CLOSED_OUTPUT : exitCode;
}

/** A reader that has seen enough, such as `head`, ends other programs by SIGPIPE: 128 + 13. */
const CLOSED_OUTPUT = 141;

/** Let the command finish its work although nobody reads what it says, and tell that by the exit code. */
function watchOutput({ stdout, stderr }: Streams): { isClosed: boolean } {
	const output = { isClosed: false };
	for (const stream of [stdout, stderr])
		stream.on("error", (error: NodeJS.ErrnoException) => {
			if (error.code !== "EPIPE") throw error;
			output.isClosed = true;
			process.exitCode = CLOSED_OUTPUT; // it may come after the command's own end
		});
	return output;
}
