import yargs, { type Argv } from "yargs";
import {
	CONVENTIONS,
	type ConventionId,
	FLOAT_DTYPES,
	type FloatDtype,
	MergeDeltaError,
	UsageError,
	VERSION,
} from "../index.ts";
import { inspectCommand } from "./inspect-command.ts";
import { mergeCommand } from "./merge-command.ts";
import { planCommand } from "./plan-command.ts";
import { stopOnSignals } from "./signals.ts";
import { type Streams, Terminal } from "./terminal.ts";
import { verifyCommand } from "./verify-command.ts";

const HELP_WIDTH = 80;

/**
 * Run the command line.
 *
 * @param args  without the interpreter and the script
 * @returns the exit code
 */
export async function main(
	args: readonly string[],
	streams: Streams = process,
): Promise<number> {
	const stop = stopOnSignals();
	// Read before yargs does, because its failures too must be told as asked.
	const terminal = new Terminal(optionsOf(args, streams), streams);
	try {
		let exitCode = 0;
		const run = (command: (terminal: Terminal) => Promise<number>) =>
			command(terminal).then((code) => {
				exitCode = code;
			});
		const parser = build(run, stop.signal);
		if (args.length === 0) {
			streams.stderr.write(`${await parser.getHelp()}\n`);
			return 2;
		}
		await parser.parseAsync([...args]);
		return exitCode;
	} catch (error) {
		const code = terminal.fail(error);
		return stop.exitCode ?? code;
	} finally {
		stop.dispose();
	}
}

function optionsOf(args: readonly string[], streams: Streams) {
	const has = (flag: string) => args.includes(flag);
	return {
		json: has("--json"),
		quiet: has("--quiet") || has("-q"),
		verbose: has("--verbose"),
		color:
			streams.stderr.isTTY === true &&
			!process.env.NO_COLOR &&
			!has("--no-color"),
	};
}

type Run = (command: (terminal: Terminal) => Promise<number>) => Promise<void>;

function build(run: Run, signal: AbortSignal): Argv {
	return yargs()
		.scriptName("merge-delta")
		.usage(
			"Merge a base model and a published delta, verified byte for byte.\n\n$0 --base <src> --delta <src> --out <dir>\n\n<src> is a folder with safetensors weights, or one weight file.",
		)
		.command(
			["merge", "$0"],
			"merge base and delta into a new folder",
			(y) =>
				inputOptions(y)
					.option("out", {
						alias: "target-model-path",
						type: "string",
						demandOption: true,
						requiresArg: true,
						describe: "folder to make",
					})
					.option("allow-non-finite", {
						type: "boolean",
						default: false,
						describe: "publish even if finite numbers overflow",
					}),
			(args) => run((terminal) => mergeCommand(args, terminal, signal)),
		)
		.command(
			"plan",
			"show what a merge would do, and write nothing",
			inputOptions,
			(args) => run((terminal) => planCommand(args, terminal)),
		)
		.command(
			"inspect <src>",
			"list the tensors of a model",
			(y) =>
				y.positional("src", {
					type: "string",
					demandOption: true,
					describe: "a folder or a weight file",
				}),
			(args) => run((terminal) => inspectCommand(args.src, terminal)),
		)
		.command(
			"verify <dir>",
			"check a merged model against its checksums",
			(y) =>
				y
					.positional("dir", {
						type: "string",
						demandOption: true,
						describe: "the folder of a merged model",
					})
					.option("allow-extra", {
						type: "boolean",
						default: false,
						describe: "accept files that are not listed",
					}),
			(args) => run((terminal) => verifyCommand(args, terminal, signal)),
		)
		.options({
			json: {
				type: "boolean",
				describe: "one JSON document on stdout",
			},
			quiet: {
				alias: "q",
				type: "boolean",
				describe: "say nothing but results and errors",
			},
			verbose: { type: "boolean", describe: "show where an error arose" },
			color: {
				type: "boolean",
				default: true,
				describe: "--no-color or NO_COLOR for plain text",
			},
		})
		.example(
			"$0 --base llama-13b --delta vicuna-13b-delta --out vicuna-13b",
			"",
		)
		.example("$0 plan --base llama-13b --delta vicuna-13b-delta", "")
		.example("$0 verify vicuna-13b", "")
		.example("$0 inspect vicuna-13b", "")
		.version(VERSION)
		.strict()
		.check((given) => {
			for (const [flag, value] of Object.entries(given))
				if (flag !== "_" && Array.isArray(value))
					throw new UsageError({
						where: `--${flag}`,
						what: "given more than once",
						remedy: "Say it once",
					});
			return true;
		})
		.wrap(HELP_WIDTH)
		.exitProcess(false)
		.fail((message, error) => {
			if (error instanceof MergeDeltaError) throw error;
			if (error && error.name !== "YError") throw error;
			throw new UsageError({
				where: "merge-delta",
				what: (message ?? error.message).replace(/\s*\n\s*/g, " "),
				remedy: "See merge-delta --help",
			});
		});
}

function inputOptions(y: Argv) {
	return y
		.option("base", {
			alias: "base-model-path",
			type: "string",
			demandOption: true,
			requiresArg: true,
			describe: "the base model",
		})
		.option("delta", {
			alias: "delta-path",
			type: "string",
			demandOption: true,
			requiresArg: true,
			describe: "the delta",
		})
		.option("convention", {
			choices: [
				"auto",
				...(Object.keys(CONVENTIONS) as ConventionId[]),
			] as const,
			default: "auto" as const,
			describe: "what the delta means; auto: the only one that fits",
		})
		.option("dtype", {
			choices: FLOAT_DTYPES as readonly FloatDtype[],
			coerce: (dtype: string | undefined) =>
				dtype?.toUpperCase() as FloatDtype | undefined,
			describe: "type of the merged tensors; default: the convention's",
		});
}
