import type { Argv } from "yargs";
import {
	BYTE_SCHEMES,
	type ByteSchemeId,
	CONVENTIONS,
	type ConventionId,
	type ConventionWishes,
	DIRECT_IO,
	type FetchChoices,
	FLOAT_DTYPES,
	type FloatDtype,
	GROW_RULES,
	KERNEL_NAMES,
	type PlanInputs,
	UsageError,
} from "../index.ts";
import { parseBytes } from "./format.ts";

export const CONVENTION_IDS = Object.keys(CONVENTIONS) as ConventionId[];
const BYTE_SCHEME_IDS = Object.keys(BYTE_SCHEMES) as ByteSchemeId[];

const CACHE_DIR = {
	type: "string",
	requiresArg: true,
	describe: "cache of the Hub; default: the Python client's",
} as const;

/** Which cache, and what of it. */
export function cacheOptions<T>(y: Argv<T>) {
	return y
		.positional("repo", {
			type: "string",
			describe: "org/name; default: all models",
		})
		.option("cache-dir", CACHE_DIR);
}

/** How the Hub is reached; the rest is as the environment has it. */
export function hubOptions<T>(y: Argv<T>) {
	return y
		.option("cache-dir", CACHE_DIR)
		.option("offline", {
			type: "boolean",
			describe: "use what the cache holds, and no network",
		})
		.option("token", {
			type: "string",
			requiresArg: true,
			describe: "of the Hub; HF_TOKEN keeps it out of the shell's history",
		});
}

/** Which state of a model on the Hub is meant; the same as behind an @. */
export const REVISION = {
	type: "string",
	requiresArg: true,
	describe: "branch, tag or commit on the Hub, as in org/name@revision",
} as const;

/** What is merged, and by which rule. */
export function inputOptions<T>(y: Argv<T>) {
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
		.option("base-revision", REVISION)
		.option("delta-revision", REVISION)
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
		.option("shards", {
			choices: ["base", "delta"] as const,
			describe: "whose shards the output has; default: the convention's",
		})
		.option("max-shard-size", {
			type: "string",
			requiresArg: true,
			coerce: (text: string) => parseBytes("--max-shard-size", text),
			describe: "cut the output into shards of at most so much, as 5GB",
		})
		.option("store", {
			type: "boolean",
			default: true,
			hidden: true, // told of by its negation
		})
		.option("no-store", {
			choices: ["delta", "base", "both"] as const,
			describe:
				"keep none of the delta's files from Hugging Face: merge them as they come; =base, =both: of these",
		})
		.option("allow-unlikely", {
			type: "boolean",
			default: false,
			describe: "go on where an input is not the one the publisher used",
		});
}

/** Inputs of which nothing is to be stored: `--no-store` alone means the delta. */
export function noStoreOf({
	store,
	noStore,
}: {
	store: boolean;
	noStore: "delta" | "base" | "both" | undefined;
}): ("base" | "delta")[] {
	const which = noStore ?? (store ? null : "delta");
	if (which === null) return [];
	return which === "both" ? ["base", "delta"] : [which];
}

/** What the inputs of a merge must be, and its output. */
export function expectedOptions<T>(y: Argv<T>) {
	return y
		.option("base-sha256", {
			type: "string",
			requiresArg: true,
			describe: "of the base's one weight file, or a file that lists all",
		})
		.option("delta-sha256", {
			type: "string",
			requiresArg: true,
			describe: "the same of the delta",
		})
		.option("expect", {
			type: "string",
			requiresArg: true,
			describe: "checksums that the output must match",
		});
}

/** What the flags change of a convention. */
export function changesOf(
	args: Omit<ConventionWishes, "cast"> & {
		computeDtype?: FloatDtype | undefined;
	},
): ConventionWishes {
	const { computeDtype: cast, grow, loop, verbatim, prefix } = args;
	const { configFrom, tokenizerFrom } = args;
	return { cast, grow, loop, verbatim, prefix, configFrom, tokenizerFrom };
}

/** How a merge of two inputs is planned. */
export function planChoicesOf(
	inputs: PlanInputs,
): Omit<PlanInputs, "base" | "delta" | keyof FetchChoices> {
	const { convention, dtype, changes, expectSum, allowUnlikely } = inputs;
	const { shards, maxShardBytes, noStore } = inputs;
	return {
		...{ convention, dtype, changes, expectSum, allowUnlikely },
		...{ shards, maxShardBytes, noStore },
	};
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
export function outputOptions<T>(y: Argv<T>) {
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
		.option("overwrite", {
			type: "boolean",
			default: false,
			describe: "replace the output folder, once the new one is whole",
		})
		.option("resume", {
			type: "boolean",
			default: true,
			describe:
				"go on where the same command has stopped; --no-resume deletes that work",
		})
		.option("keep-staging", {
			type: "boolean",
			default: false,
			describe: "keep what was written when the result is refused",
		})
		.option("sync-bytes", {
			type: "string",
			requiresArg: true,
			coerce: (text: string) => parseBytes("--sync-bytes", text),
			describe: "most of each output file that a crash may cost",
			hidden: true, // for tests, which crash small models
		})
		.option("allow-non-finite", {
			type: "boolean",
			default: false,
			describe: "publish even if finite numbers overflow",
		});
}

/** How the machine is used; no choice changes a byte of the result. */
export function engineOptions<T>(y: Argv<T>) {
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
