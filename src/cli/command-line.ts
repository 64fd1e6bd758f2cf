import yargs, { type Argv } from "yargs";
import {
	BYTE_SCHEMES,
	type ByteSchemeId,
	CONVENTIONS,
	type ConventionId,
	type ConventionWishes,
	DIRECT_IO,
	FLOAT_DTYPES,
	type FloatDtype,
	GROW_RULES,
	KERNEL_NAMES,
	MergeDeltaError,
	UsageError,
	VERSION,
} from "../index.ts";
import { conventionsCommand } from "./conventions-command.ts";
import { doctorCommand } from "./doctor-command.ts";
import { fetchCommand } from "./fetch-command.ts";
import { parseBytes } from "./format.ts";
import { inspectCommand } from "./inspect-command.ts";
import { makeCommand, makeOptions } from "./make-command.ts";
import { mergeCommand } from "./merge-command.ts";
import { planCommand } from "./plan-command.ts";
import { stopOnSignals } from "./signals.ts";
import { type Streams, Terminal } from "./terminal.ts";
import { verifyCommand } from "./verify-command.ts";

const HELP_WIDTH = 80;
const CONVENTION_IDS = Object.keys(CONVENTIONS) as ConventionId[];
const BYTE_SCHEME_IDS = Object.keys(BYTE_SCHEMES) as ByteSchemeId[];
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
			"Merge a base model and a published delta, verified byte for byte.\n\n$0 --base <src> --delta <src> --out <dir>\n\n<src> is a folder with weights, one weight file (safetensors or torch), or a model on Hugging Face: org/name[@revision].",
		)
		.command(
			["merge", "$0"],
			"merge base and delta into a new folder",
			(y) =>
				outputOptions(inputOptions(y)).option("out", {
					...OUT,
					alias: "target-model-path",
				}),
			(args) =>
				run((terminal) =>
					mergeCommand({ ...args, changes: changesOf(args) }, terminal, signal),
				),
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
				run((terminal) =>
					planCommand({ ...args, changes: changesOf(args) }, terminal, signal),
				),
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
			(y) =>
				hubOptions(y).positional("src", {
					type: "string",
					demandOption: true,
					describe: "a folder, a weight file, or org/name[@revision]",
				}),
			(args) => run((terminal) => inspectCommand(args, terminal, signal)),
		)
		.command(
			"fetch <repo>",
			"bring a model from Hugging Face into its cache",
			(y) =>
				hubOptions(y).positional("repo", {
					type: "string",
					demandOption: true,
					describe: "org/name or org/name@revision",
				}),
			(args) => run((terminal) => fetchCommand(args, terminal, signal)),
		)
		.command(
			"verify <dir>",
			"check a merged model against its checksums",
			(y) =>
				engineOptions(y)
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

/** How the Hub is reached; the rest is as the environment has it. */
function hubOptions<T>(y: Argv<T>) {
	return y
		.option("cache-dir", {
			type: "string",
			requiresArg: true,
			describe: "cache of the Hub; default: the Python client's",
		})
		.option("offline", {
			type: "boolean",
			describe: "use what the cache holds, and no network",
		});
}

function inputOptions<T>(y: Argv<T>) {
	return hubOptions(y)
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
			choices: ["auto", ...CONVENTION_IDS, ...BYTE_SCHEME_IDS] as const,
			default: "auto" as const,
			describe: "what the delta means; auto: the only one that fits",
		})
		.option("expect-sum", {
			type: "string",
			requiresArg: true,
			coerce: parseSum,
			describe:
				"what all elements add up to; any: whatever; default: what was published",
		})
		.option("compute-dtype", {
			choices: FLOAT_DTYPES as readonly FloatDtype[],
			coerce: upperCase,
			describe: "round both sides to this first, and the sum",
		})
		.option("grow", {
			choices: GROW_RULES,
			describe: "what the base gets where the delta has more rows",
		})
		.option("loop", {
			choices: ["base", "delta"] as const,
			describe: "whose tensors the output has",
		})
		.option("verbatim", {
			type: "string",
			array: true,
			requiresArg: true,
			describe: "parts of names of tensors to take from the delta",
		})
		.option("prefix", {
			type: "string",
			requiresArg: true,
			describe: "what the delta's names begin with, unlike the base's",
		})
		.option("config-from", {
			choices: ["base", "delta"] as const,
			describe: "whose config files the output gets",
		})
		.option("tokenizer-from", {
			choices: ["base", "delta"] as const,
			describe: "whose tokenizer files the output gets",
		})
		.option("dtype", {
			choices: FLOAT_DTYPES as readonly FloatDtype[],
			coerce: upperCase,
			describe: "type of the merged tensors; default: the convention's",
		})
		.option("allow-unlikely", {
			type: "boolean",
			default: false,
			describe: "go on where an input is not the one the publisher used",
		});
}

/** What the flags change of a convention. */
function changesOf(
	args: Omit<ConventionWishes, "cast"> & {
		computeDtype?: FloatDtype | undefined;
	},
): ConventionWishes {
	const { computeDtype: cast, grow, loop, verbatim, prefix } = args;
	const { configFrom, tokenizerFrom } = args;
	return { cast, grow, loop, verbatim, prefix, configFrom, tokenizerFrom };
}

function parseSum(text: string | undefined): number | "any" | undefined {
	if (text === undefined || text === "any") return text;
	const sum = text.trim() === "" ? Number.NaN : Number(text);
	if (Number.isFinite(sum)) return sum;
	throw new UsageError({
		where: "--expect-sum",
		...{ what: "no number", found: JSON.stringify(text) },
		expected: "a sum such as 50637.1836, or any",
	});
}

function upperCase(dtype: string | undefined): FloatDtype | undefined {
	return dtype?.toUpperCase() as FloatDtype | undefined;
}

/** For commands that compute and write weights. */
function outputOptions<T>(y: Argv<T>) {
	return engineOptions(y)
		.option("kernel", {
			choices: ["auto", ...KERNEL_NAMES] as const,
			default: "auto" as const,
			describe: "implementation of the sums; all give the same bytes",
		})
		.option("input-sums", {
			type: "boolean",
			default: true,
			describe:
				"take the checksums of the inputs too; --no-input-sums saves two thirds of the hashing",
		})
		.option("allow-non-finite", {
			type: "boolean",
			default: false,
			describe: "publish even if finite numbers overflow",
		});
}

/** How the machine is used; no choice changes a byte of the result. */
function engineOptions<T>(y: Argv<T>) {
	return y
		.option("threads", {
			type: "number",
			requiresArg: true,
			describe: "for sums and checksums; default: one for each core",
		})
		.option("memory", {
			type: "string",
			requiresArg: true,
			coerce: (text: string) => parseBytes("--memory", text),
			describe: "most that all buffers may take, as 48MB; default 256MB",
		})
		.option("direct-io", {
			choices: DIRECT_IO,
			default: "auto" as const,
			describe: "bypass the page cache; auto: where that is faster",
		});
}
