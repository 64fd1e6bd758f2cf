import type { Doubt } from "./doubt.ts";
import { FULL_WEIGHTS_REMEDY, SWAP_REMEDY } from "./judge-known.ts";
import type { TensorSample } from "./tensor-sample.ts";

/** Fewer say nothing: a test's toy, or a model of an unknown kind. */
const MIN_MATRICES = 3;
const MIN_NORMS = 2;
const MIN_MATRIX_ELEMENTS = 256;
const MIN_NORM_ELEMENTS = 16;
/** Elements from which on a share of inexact sums is more than chance. */
const MIN_SMALL = 20_000;

/** What all samples together say. Every figure is a ratio: no absolute scale of weights is assumed. */
export interface Likelihood {
	/** medians over the matrices */
	ratio: number;
	correlation: number;
	matrices: readonly TensorSample[];
	norms: readonly TensorSample[];
	/** share of the sums of small deltas that are inexact; null where too few could be asked */
	inexact: number | null;
}

/** Sum up the samples that count; null where there are too few to judge by. */
export function weigh(samples: readonly TensorSample[]): Likelihood | null {
	const usable = samples.filter(({ base, delta }) =>
		[base.rms, delta.rms].every((rms) => Number.isFinite(rms)),
	);
	const matrices = usable.filter(
		({ kind, count, base }) =>
			kind === "matrix" && count >= MIN_MATRIX_ELEMENTS && base.rms > 0,
	);
	const norms = usable.filter(
		({ kind, count }) => kind === "norm" && count >= MIN_NORM_ELEMENTS,
	);
	if (matrices.length < MIN_MATRICES) return null;
	return {
		ratio: median(matrices.map(ratioOf)),
		correlation: median(matrices.map(({ correlation }) => correlation)),
		...{ matrices, norms, inexact: inexactShare(matrices) },
	};
}

/** Whether the samples show a delta, whatever its config or folder is called: weights far smaller than the base's. */
export function isPlainlyDelta(samples: readonly TensorSample[]): boolean {
	const found = weigh(samples);
	return found !== null && found.ratio < 0.25;
}

/**
 * Judge what was given as base and as delta from samples of their tensors. Says only what figures can show,
 * and would rather miss a fault than refuse a sound pair:
 * a finetuning changes weights by some hundredths of their size, independently of them, and norm scales,
 * which are near 1 and above 0 in every full model, hardly at all.
 */
export function judgeLikelihood(
	samples: readonly TensorSample[],
	where: { base: string; delta: string },
): Doubt[] {
	const found = weigh(samples);
	if (found === null) return [];
	const verdict = VERDICTS.find(({ holds }) => holds(found));
	if (verdict === undefined) return judgeSums(found, where);
	const { ratio, correlation, matrices } = found;
	return [
		{
			refuses: true,
			where: where.delta,
			what: verdict.what(where.base),
			found: `correlation ${correlation.toFixed(2)} and ${ratio.toPrecision(2)} times the base's size in ${matrices.length} sampled matrices`,
			remedy: verdict.remedy,
		},
	];
}

/** The first that holds is told. */
const VERDICTS: readonly {
	holds: (found: Likelihood) => boolean;
	what: (base: string) => string;
	remedy: string;
}[] = [
	{
		holds: ({ matrices, norms }) =>
			[...matrices, ...norms].every(({ identical }) => identical),
		what: (base) => `holds the same weights as the base ${base}`,
		remedy: "Give the delta as --delta, not the base twice",
	},
	{
		holds: isTunedFrom,
		what: (base) =>
			`these are full weights, tuned from the base ${base}, not a delta`,
		remedy: FULL_WEIGHTS_REMEDY,
	},
	{
		holds: isSwapped,
		what: (base) => `these are full weights, and the base ${base} is a delta`,
		remedy: SWAP_REMEDY,
	},
	{
		holds: isFullWeights,
		what: (base) =>
			`these are full weights, of another model than the base ${base}, not a delta`,
		remedy: FULL_WEIGHTS_REMEDY,
	},
];

/** Full weights of the base's own family: hardly any element has moved. */
function isTunedFrom({ ratio, correlation }: Likelihood): boolean {
	return correlation > 0.7 && ratio > 0.5 && ratio < 2;
}

/** Weights as large as the base's, with norm scales that are those of a full model. */
function isFullWeights({ ratio, norms }: Likelihood): boolean {
	return (
		ratio > 0.25 &&
		ratio < 4 &&
		mostly(
			norms,
			({ base, delta }) =>
				base.positive > 0.95 &&
				delta.positive > 0.95 &&
				delta.mean > base.mean / 4 &&
				delta.mean < base.mean * 4,
		)
	);
}

/** The delta's norm scales are a full model's, beside which the base's are nothing; and its weights are larger. */
function isSwapped({ ratio, norms }: Likelihood): boolean {
	return (
		ratio > 2 &&
		mostly(
			norms,
			({ base, delta }) => delta.positive > 0.95 && base.rms < delta.rms / 4,
		)
	);
}

function mostly(
	norms: readonly TensorSample[],
	holds: (sample: TensorSample) => boolean,
): boolean {
	return (
		norms.length >= MIN_NORMS &&
		norms.filter(holds).length >= norms.length * 0.75
	);
}

/**
 * A delta is its target minus its base, rounded to a type both are stored in. Where it is small against the
 * base that difference needs no rounding (Sterbenz 1974), and adding it to the very same base needs none
 * either, so that not one such sum is inexact. Onto another model about a third are; onto the merged model,
 * or a base that went through a narrower type, some hundredths. Nearly all are where the delta was made in
 * a wider type than it is stored in: then nothing follows.
 */
function judgeSums(
	{ inexact }: Likelihood,
	where: { base: string; delta: string },
): Doubt[] {
	if (inexact === null || inexact < 0.002 || inexact > 0.6) return [];
	return [
		{
			refuses: false,
			where: where.base,
			what: "perhaps not the very weights that the delta was made from",
			found: `${(inexact * 100).toFixed(1)} % of the sampled sums inexact, where there should be none`,
			remedy:
				inexact > 0.2
					? "Is it the same model, of the same version?"
					: "Is it already merged, or was it converted through another dtype?",
		},
	];
}

function inexactShare(matrices: readonly TensorSample[]): number | null {
	let [small, inexact] = [0, 0];
	for (const sample of matrices)
		if (sample.inexact !== null) {
			small += sample.small;
			inexact += sample.inexact;
		}
	return small < MIN_SMALL ? null : inexact / small;
}

function ratioOf({ base, delta }: TensorSample): number {
	return delta.rms / base.rms;
}

function median(values: readonly number[]): number {
	const sorted = values.toSorted((a, b) => a - b);
	return sorted[sorted.length >> 1] ?? Number.NaN;
}
