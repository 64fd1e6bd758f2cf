import { VERSION } from "../version.ts";
import type { Streams } from "./terminal.ts";

/** Be the command: what the process was given is run, and its end set. */
export async function start(): Promise<void> {
	endOnBugs();
	process.exitCode = await main(process.argv.slice(2));
	// A name that is looked up and a connection that is made cannot be called off, and keep the process.
	if (process.exitCode !== 0) setTimeout(() => process.exit(), 1000).unref();
}

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
	try {
		const { runCommandLine } = await import("./command-line.ts");
		const exitCode = await runCommandLine(args, streams);
		return output.exitCode ?? exitCode;
	} catch (error) {
		const { code, syscall } = error as NodeJS.ErrnoException;
		// Where too few files may be open Node finds no package either.
		if (syscall === undefined && code !== "ERR_MODULE_NOT_FOUND") throw error;
		streams.stderr.write(
			`error merge-delta: loading failed (${code}). Is it whole, and may enough files be open (ulimit -n)?\n`,
		);
		return LOCAL_FAILURE;
	}
}

/** A reader that has seen enough, such as `head`, ends other programs by SIGPIPE: 128 + 13. */
const CLOSED_OUTPUT = 141;
/** The machine failed: too few files may be open to load the program, or what it says is lost on a full disk. */
const LOCAL_FAILURE = 6;
const BUG = 70;

/** Let the command finish its work although what it says is lost, and tell that by the exit code. */
function watchOutput({ stdout, stderr }: Streams): { exitCode?: number } {
	const output: { exitCode?: number } = {};
	for (const stream of [stdout, stderr])
		stream.on("error", ({ code }: NodeJS.ErrnoException) => {
			const isFirst = output.exitCode === undefined;
			output.exitCode ??= code === "EPIPE" ? CLOSED_OUTPUT : LOCAL_FAILURE;
			process.exitCode = output.exitCode; // it may come after the command's own end
			if (isFirst && code !== "EPIPE" && stream === stdout)
				stderr.write(`error standard output: writing failed (${code})\n`);
		});
	return output;
}

/** An error that nobody waits for, a rejected promise among them, is a bug: tell it, and end at once. */
function endOnBugs(): void {
	process.once("uncaughtException", (error) => {
		// Even to tell it may fail, where nothing more can be loaded.
		process.on("uncaughtException", () => {
			process.stderr.write(`error ${JSON.stringify(String(error))}\n`);
			process.exit(BUG);
		});
		void import("./terminal.ts").then(({ Terminal, terminalOptions }) => {
			const options = terminalOptions(process.argv.slice(2), process);
			process.exit(new Terminal(options, process).fail(error));
		});
	});
}
