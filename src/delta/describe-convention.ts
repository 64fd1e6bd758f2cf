import type { Convention } from "./convention.ts";

/** A convention in words, for tables. */
export interface ConventionRow {
	casts: string;
	result: string;
	growth: string;
	over: string;
	asTheyAre: string;
	config: string;
	tokenizer: string;
	publishedBy: string;
}

const GROWTH: Record<Convention["grow"], string> = {
	none: "none",
	zero: "rows of zeros",
	mean: "mean of the rows",
	slice: "the delta's rows",
	verbatim: "the delta's tensor",
	pad: "one: mean of the rows; more: the delta's tensor",
};

/** What a convention does, each column of the table in `merge-delta conventions` and the README. */
export function describeConvention(convention: Convention): ConventionRow {
	const { cast, out, grow, loop, prefix, verbatim, deltaOnly } = convention;
	const { subtract, summed } = convention;
	const result =
		out === "base" ? "the base's dtype" : (out ?? "the dtype of both");
	const asTheyAre = [
		...(summed.length === 0
			? []
			: [`all but ${summed.map((part) => `*${part}*`).join(", ")}`]),
		...verbatim.map((part) => `*${part}*`),
		...(deltaOnly === "verbatim" ? ["what only the delta has"] : []),
	];
	const config = convention.generationConfig
		? convention.configFrom
		: `${convention.configFrom}, no generation_config`;
	return {
		casts: cast === null ? "none" : `both to ${cast}`,
		result: subtract ? `${result}, delta − base` : result,
		growth: GROWTH[grow],
		over: prefix === "" ? loop : `${loop}, behind ${prefix}`,
		asTheyAre: asTheyAre.join(", ") || "none",
		config,
		tokenizer: convention.tokenizerFrom ?? "none",
		publishedBy: convention.publishedBy,
	};
}
