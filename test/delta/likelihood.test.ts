import { expect, test } from "vitest";
import {
	isPlainlyDelta,
	judgeLikelihood,
	weigh,
} from "../../src/delta/likelihood.ts";
import { condense, type TensorSample } from "../../src/delta/tensor-sample.ts";
import type { FloatDtype } from "../../src/tensor/dtype.ts";
import {
	combine,
	fullWeights,
	ROUND,
	subtract,
	tuned,
	type Weights,
} from "./synthetic-weights.ts";

const WHERE = { base: "the base", delta: "the delta" };

function sampled(base: Weights, delta: Weights, dtype: FloatDtype = "F16") {
	return Array.from(base, ([name, values]) =>
		condense(
			{ name, kind: name.includes("norm") ? "norm" : "matrix" },
			{ dtype, values },
			{ dtype, values: delta.get(name) as Float64Array },
		),
	).filter((sample): sample is TensorSample => sample !== null);
}

const judge = (base: Weights, delta: Weights, dtype: FloatDtype = "F16") =>
	judgeLikelihood(sampled(base, delta, dtype), WHERE);
const scaled = (weights: Weights, factor: number) =>
	combine(weights, weights, (value) => value * factor);

const BASE = fullWeights(1, "F16");
const TARGET = tuned(BASE, 2, "F16");
const DELTA = subtract(TARGET, BASE, "F16");
const OTHER = fullWeights(3, "F16");

test.each(["F16", "BF16", "F32"] as const)(
	"a %s delta beside the base it was made from raises no doubt",
	(dtype) => {
		const base = fullWeights(4, dtype);
		const delta = subtract(tuned(base, 5, dtype), base, dtype);
		const samples = sampled(base, delta, dtype);
		expect(judgeLikelihood(samples, WHERE)).toEqual([]);
		expect(weigh(samples)?.inexact).toBe(0);
		expect(weigh(samples)?.ratio).toBeCloseTo(0.1, 2);
		expect(isPlainlyDelta(samples)).toBe(true);
	},
);

const WRONG: [string, Weights, Weights, RegExp, RegExp][] = [
	[
		"the base twice",
		BASE,
		BASE,
		/holds the same weights/,
		/not the base twice/,
	],
	[
		"the target as delta",
		BASE,
		TARGET,
		/tuned from the base/,
		/needs no merge/,
	],
	["another model as delta", BASE, OTHER, /of another model/, /needs no merge/],
	["the two swapped", DELTA, BASE, /and the base the base is a delta/, /Swap/],
	["the target for the base, swapped", DELTA, TARGET, /is a delta/, /Swap/],
];

test.each(WRONG)(
	"%s is refused, at any scale",
	(_, base, delta, what, remedy) => {
		for (const factor of [1, 2 ** -4, 2 ** 8]) {
			const doubts = judge(scaled(base, factor), scaled(delta, factor), "F32");
			expect(doubts).toHaveLength(1);
			expect(doubts[0]).toMatchObject({ refuses: true, where: "the delta" });
			expect(doubts[0]?.what).toMatch(what);
			expect(doubts[0]?.remedy).toMatch(remedy);
		}
	},
);

test.each<[string, Weights, Weights, FloatDtype, RegExp]>([
	["another model", OTHER, DELTA, "F16", /same version/],
	["the merged model", TARGET, DELTA, "F16", /already merged/],
	[
		"a base that was BF16 once",
		combine(BASE, BASE, ROUND.BF16),
		DELTA,
		"F16",
		/another dtype/,
	],
	[
		"another model in F32",
		fullWeights(6, "F32"),
		subtract(
			tuned(fullWeights(7, "F32"), 8, "F32"),
			fullWeights(7, "F32"),
			"F32",
		),
		"F32",
		/same version/,
	],
])("%s as base is only warned of", (_, base, delta, dtype, remedy) => {
	const doubts = judge(base, delta, dtype);
	expect(doubts).toHaveLength(1);
	expect(doubts[0]).toMatchObject({ refuses: false, where: "the base" });
	expect(doubts[0]?.remedy).toMatch(remedy);
});

test("nothing follows from inexact sums of a delta that was made in F32 and stored in F16", () => {
	const target = tuned(BASE, 9, "F32");
	const samples = sampled(BASE, subtract(target, BASE, "F16"));
	expect(weigh(samples)?.inexact).toBeGreaterThan(0.8);
	expect(judgeLikelihood(samples, WHERE)).toEqual([]);
});

test("nothing follows from inexact sums of numbers that never were a difference", () => {
	const noNorms = (weights: Weights) =>
		new Map([...weights].filter(([name]) => !name.includes("norm")));
	for (const size of [0.01, 0.1, 1]) {
		const random = combine(OTHER, OTHER, (value) => ROUND.F16(value * size));
		expect(judge(noNorms(BASE), noNorms(random))).toEqual([]);
	}
});

test("full weights without norms are refused only where they resemble the base", () => {
	const noNorms = (weights: Weights) =>
		new Map([...weights].filter(([name]) => !name.includes("norm")));
	expect(judge(noNorms(BASE), noNorms(TARGET))).toHaveLength(1);
	expect(judge(noNorms(BASE), noNorms(OTHER))).toEqual([]);
	expect(judge(noNorms(DELTA), noNorms(BASE))).toEqual([]);
});

test("a large delta, a delta of nothing and numbers that are none raise no doubt", () => {
	const far = subtract(
		combine(BASE, OTHER, (a, b, name) =>
			ROUND.F16(name.includes("norm") ? a : a + b / 2),
		),
		BASE,
		"F16",
	);
	expect(judge(BASE, far)).toEqual([]);
	expect(judge(BASE, scaled(DELTA, 0))).toEqual([]);
	expect(judge(BASE, scaled(DELTA, Number.NaN))).toEqual([]);
	expect(judge(scaled(BASE, 0), DELTA)).toEqual([]);
	expect(judge(scaled(BASE, 1e300), scaled(OTHER, 1e300), "F64")).toEqual([]);
});

test("too few tensors say nothing", () => {
	const few = new Map([...BASE].slice(0, 3));
	expect(judge(few, few)).toEqual([]);
	expect(judge(new Map(), new Map())).toEqual([]);
});

test("a sample counts what it says it counts", () => {
	const sample = condense(
		{ name: "w", kind: "matrix" },
		{ dtype: "F16", values: Float64Array.of(1, 2048, -4, Infinity, 0) },
		{ dtype: "F16", values: Float64Array.of(0.125, 0.5, -4, 1, 0) },
	);
	expect(sample).toMatchObject({
		...{ count: 4, small: 2, inexact: 1, identical: false },
		base: { mean: 511.25, positive: 0.5 },
		delta: { mean: -0.84375, positive: 0.5 },
	});
	expect(sample?.correlation).toBeCloseTo(
		(0.125 + 1024 + 16) /
			Math.sqrt((1 + 2048 ** 2 + 16) * (0.25 + 1 / 64 + 16)),
		10,
	);
});
