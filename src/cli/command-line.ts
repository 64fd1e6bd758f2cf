import yargs, { type Argv } from "yargs";
import { MergeDeltaError, UsageError, VERSION } from "../index.ts";
import { cacheCommand, cacheVerifyCommand } from "./cache-command.ts";
import { compareCommand, compareOptions } from "./compare-command.ts";
import { conventionsCommand } from "./conventions-command.ts";
import { doctorCommand } from "./doctor-command.ts";
import { fetchCommand } from "./fetch-command.ts";
import { inspectCommand, inspectOptions } from "./inspect-command.ts";
import { makeCommand, makeOptions } from "./make-command.ts";
import { mergeCommand } from "./merge-command.ts";
import {
	CONVENTION_IDS,
	cacheOptions,
	changesOf,
	engineOptions,
	expectedOptions,
	hubOptions,
	inputOptions,
	noStoreOf,
	outputOptions,
	REVISION,
} from "./options.ts";
import { planCommand } from "./plan-command.ts";
import { stopOnSignals } from "./signals.ts";
import { type Streams, Terminal, terminalOptions } from "./terminal.ts";
import { verifyCommand, verifyOptions } from "./verify-command.ts";

const HELP_WIDTH = 80;
const OUT = {
	type: "string",
	demandOption: true,
	requiresArg: true,
	describe: "folder to make",
} as const;

/**
 * Run the command line.
 *
 * @param args  without the interpreter and the script
 * @returns the exit code
 */
export async function runCommandLine(
	args: readonly string[],
	streams: Streams,
): Promise<number> {
	const stop = stopOnSignals();
	// Read before yargs does, because its failures too must be told as asked.
	const terminal = new Terminal(terminalOptions(args, streams), streams);
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

/** Flags that together say one thing. */
function withWishes<
	T extends Parameters<typeof changesOf>[0] &
		Parameters<typeof noStoreOf>[0] & { maxShardSize: number | undefined },
>(args: T) {
	return {
		...{ ...args, changes: changesOf(args), noStore: noStoreOf(args) },
		maxShardBytes: args.maxShardSize,
	};
}

type Run = (command: (terminal: Terminal) => Promise<number>) => Promise<void>;

function build(run: Run, signal: AbortSignal): Argv {
	return yargs()
		.scriptName("merge-delta")
		.usage(
			"Merge a base model and a published delta, verified byte for byte.\n\n$0 --base <src> --delta <src> --out <dir>\n\n<src> is a folder with weights, one weight file (safetensors or torch), or a model on Hugging Face: org/name[@revision].",
		)
		.command(
			["merge", "$0"],
			"merge base and delta into a new folder",
			(y) =>
				expectedOptions(outputOptions(inputOptions(y))).option("out", {
					...OUT,
					alias: "target-model-path",
				}),
			(args) =>
				run((terminal) => mergeCommand(withWishes(args), terminal, signal)),
		)
		.command(
			"make",
			"make the delta that takes a base to a target",
			(y) => outputOptions(makeOptions(y)).option("out", OUT),
			(args) => run((terminal) => makeCommand(args, terminal, signal)),
		)
		.command(
			"plan",
			"show what a merge would do, and write nothing",
			inputOptions,
			(args) =>
				run((terminal) => planCommand(withWishes(args), terminal, signal)),
		)
		.command(
			"conventions [id]",
			"tell what each convention means",
			(y) =>
				y.positional("id", {
					choices: CONVENTION_IDS,
					describe: "tell all of this one",
				}),
			(args) => run((terminal) => conventionsCommand(args.id, terminal)),
		)
		.command(
			"inspect <src>",
			"list the tensors of a model",
			inspectOptions,
			(args) => run((terminal) => inspectCommand(args, terminal, signal)),
		)
		.command(
			"fetch <repo>",
			"bring a model from Hugging Face into its cache",
			(y) =>
				hubOptions(y)
					.positional("repo", {
						type: "string",
						demandOption: true,
						describe: "org/name or org/name@revision",
					})
					.option("revision", REVISION),
			(args) => run((terminal) => fetchCommand(args, terminal, signal)),
		)
		.command(
			"verify <dir>",
			"check a model against checksums",
			verifyOptions,
			(args) => run((terminal) => verifyCommand(args, terminal, signal)),
		)
		.command("cache [repo]", "tell what the cache of Hugging Face holds", (y) =>
			y
				.command(
					"verify [repo]",
					"check every file of the cache against its checksum",
					(y) => engineOptions(cacheOptions(y)),
					(args) =>
						run((terminal) => cacheVerifyCommand(args, terminal, signal)),
				)
				.command(
					["list [repo]", "$0"],
					"tell what the cache holds",
					cacheOptions,
					(args) => run((terminal) => cacheCommand(args, terminal)),
				),
		)
		.command(
			"compare <a> <b>",
			"tell which tensors of two models differ, and how far",
			compareOptions,
			(args) => run((terminal) => compareCommand(args, terminal, signal)),
		)
		.command(
			"doctor",
			"show what this machine offers to a merge",
			(y) => y,
			() => run((terminal) => doctorCommand(terminal)),
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
			verbose: {
				type: "boolean",
				describe: "show where the time went, and where an error arose",
			},
			annotations: {
				choices: ["auto", "github", "none"],
				default: "auto",
				describe: "failures as annotations; auto: in GitHub's runners",
			},
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
		.example(
			"$0 make --base llama-13b --target my-13b --out my-13b-delta --convention fastchat-v1.1",
			"",
		)
		.example("$0 plan --base llama-13b --delta vicuna-13b-delta", "")
		.example("$0 verify vicuna-13b", "")
		.example("$0 inspect vicuna-13b", "")
		.version(VERSION)
		.strict()
		.check((given) => {
			for (const [flag, value] of Object.entries(given))
				if (flag !== "_" && flag !== "verbatim" && Array.isArray(value))
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
