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
/** As for any other failure of the machine. */
const LOCAL_IO = 6;

/** Let the command finish its work although what it says is lost, and tell that by the exit code. */
function watchOutput({ stdout, stderr }: Streams): { exitCode?: number } {
	const output: { exitCode?: number } = {};
	for (const stream of [stdout, stderr])
		stream.on("error", ({ code }: NodeJS.ErrnoException) => {
			const isFirst = output.exitCode === undefined;
			output.exitCode ??= code === "EPIPE" ? CLOSED_OUTPUT : LOCAL_IO;
			process.exitCode = output.exitCode; // it may come after the command's own end
			if (isFirst && code !== "EPIPE" && stream === stdout)
				stderr.write(`error stdout: writing failed (${code})\n`);
		});
	return output;
}
