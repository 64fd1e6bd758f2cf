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
	return output.exitCode ?? exitCode;
}

/** A reader that has seen enough, such as `head`, ends other programs by SIGPIPE: 128 + 13. */
const CLOSED_OUTPUT = 141;
/** What a report is written to is full: a failure of the machine, like those of the merge. */
const FAILED_OUTPUT = 6;

/** Let the command finish its work although nobody can read what it says, and tell that by the exit code. */
function watchOutput({ stdout, stderr }: Streams): { exitCode: number | null } {
	const output: { exitCode: number | null } = { exitCode: null };
	for (const stream of [stdout, stderr])
		stream.on("error", (error: NodeJS.ErrnoException) => {
			const isClosed = error.code === "EPIPE";
			if (!isClosed && stream === stdout && output.exitCode === null)
				stderr.write(`error stdout: ${error.message}\n`);
			output.exitCode ??= isClosed ? CLOSED_OUTPUT : FAILED_OUTPUT;
			process.exitCode = output.exitCode; // it may come after the command's own end
		});
	return output;
}
