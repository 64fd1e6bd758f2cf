import type { ConventionId } from "./conventions.ts";

/**
 * The sum of all elements of a merged model, as its publisher's script checks it: the sum of each tensor,
 * added up in binary32 in the order of the model.
 */
export interface PublishedSum {
	/** the delta it was published with */
	of: string;
	sum: number;
	/** how far the script lets it be off */
	tolerance: number;
	/** elements of the model, its rotary frequencies not counted */
	elements: number;
	/** layers, each of which had rotary frequencies that count in the sum and that are not stored any more */
	layers: number;
}

const LLAMA_7B_32001 = { elements: 6_738_423_808, layers: 32, tolerance: 1e-2 };

/** What scripts print and check, by convention. Sources: each project's weight_diff.py. */
export const PUBLISHED_SUMS: Partial<
	Record<ConventionId, readonly PublishedSum[]>
> = {
	alpaca: [
		{ of: "tatsu-lab/alpaca-7b-wdiff", sum: 50637.1836, ...LLAMA_7B_32001 },
	],
	knowlm: [
		{
			of: "zjunlp/zhixi-13b-diff",
			sum: 94052.2891,
			tolerance: 1e-2,
			elements: 13_015_864_320,
			layers: 40,
		},
	],
	gisting: [
		{ of: "jayelm/llama-7b-gist-1", sum: 50547.957, ...LLAMA_7B_32001 },
		{ of: "jayelm/llama-7b-pos_control-1", sum: 50596.9141, ...LLAMA_7B_32001 },
		{ of: "jayelm/llama-7b-neg_control-1", sum: 50503.8789, ...LLAMA_7B_32001 },
	],
};

/** What the elements of a merged model must add up to: one of `accept`, as a plan carries it. */
export interface ExpectedSum {
	accept: readonly { of: string; sum: number }[];
	tolerance: number;
	/** all tensors, in the order of the model, which the last bits depend on */
	tensors: readonly string[];
}

/** Rotary frequencies of one layer with heads of 128: θ_i = 10000^(−i/64) for i below 64. */
const ROTARY_SUM = Array.from({ length: 64 }, (_, i) =>
	Math.fround(10000 ** (-i / 64)),
).reduce((a, b) => a + b, 0);

/**
 * The sum that was published for a model of this many elements, with the rotary frequencies and without;
 * null where none was.
 */
export function expectedSum(
	id: ConventionId,
	elements: number,
	tensors: readonly string[],
): ExpectedSum | null {
	const known = (PUBLISHED_SUMS[id] ?? []).filter(
		(each) => each.elements === elements,
	);
	const [first] = known;
	if (first === undefined) return null;
	return {
		accept: known.flatMap(({ of, sum, layers }) => [
			{ of, sum },
			{ of, sum: sum - layers * ROTARY_SUM },
		]),
		tolerance: first.tolerance,
		tensors,
	};
}

/** Add tensors up as the scripts do, each sum rounded to binary32. @param sums  of each tensor, in binary64 */
export function addSums(
	{ tensors }: ExpectedSum,
	sums: ReadonlyMap<string, number>,
): number {
	return tensors.reduce(
		(total, name) => Math.fround(total + Math.fround(sums.get(name) ?? 0)),
		0,
	);
}
