import type { FloatDtype } from "../../src/tensor/dtype.ts";
import {
	decodeBF16,
	decodeF16,
	encodeBF16,
	encodeF16,
} from "../../src/tensor/float.ts";

/** Values of the tensors of one model, by name. */
export type Weights = ReadonlyMap<string, Float64Array>;

const LAYERS = 8;
/** Shapes of a small LLaMA. */
export const SHAPES: ReadonlyMap<string, readonly number[]> = new Map([
	["model.embed_tokens.weight", [300, 64]],
	...Array.from({ length: LAYERS }, (_, i) => i).flatMap(
		(i): [string, number[]][] => [
			[`model.layers.${i}.input_layernorm.weight`, [64]],
			[`model.layers.${i}.mlp.up_proj.weight`, [192, 64]],
			[`model.layers.${i}.self_attn.q_proj.weight`, [64, 64]],
		],
	),
	["model.norm.weight", [64]],
	["lm_head.weight", [300, 64]],
]);

/** Nearest value of a type. */
export const ROUND: Record<FloatDtype, (value: number) => number> = {
	F16: (value) => decodeF16(encodeF16(value)),
	BF16: (value) => decodeBF16(encodeBF16(value)),
	F32: Math.fround,
	F64: (value) => value,
};

/** Normally distributed numbers, the same for the same seed: Box and Muller's, of a linear congruence. */
export function gaussian(seed: number): () => number {
	let state = seed >>> 0;
	const uniform = () => {
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
		return (state + 0.5) / 2 ** 32;
	};
	for (let i = 0; i < 10; i++) uniform();
	return () => {
		const [u, v] = [uniform(), uniform()];
		return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v);
	};
}

/** As LLaMA's: matrices of size 0.02, norm scales from 0.4 to 1. */
export function fullWeights(seed: number, dtype: FloatDtype): Weights {
	const next = gaussian(seed);
	return mapShapes((name) =>
		name.includes("norm")
			? () => ROUND[dtype](0.7 + 0.3 * Math.tanh(next()))
			: () => ROUND[dtype](0.02 * next()),
	);
}

/** What a finetuning makes of a model: matrices moved by 0.002, norm scales by 0.01. */
export function tuned(base: Weights, seed: number, dtype: FloatDtype): Weights {
	const next = gaussian(seed);
	return combine(base, base, (value, _, name) =>
		ROUND[dtype](value + next() * (name.includes("norm") ? 0.01 : 0.002)),
	);
}

/** `target − base`, rounded once. */
export function subtract(target: Weights, base: Weights, dtype: FloatDtype) {
	return combine(target, base, (t, b) => ROUND[dtype](t - b));
}

export function combine(
	a: Weights,
	b: Weights,
	of: (a: number, b: number, name: string) => number,
): Weights {
	return new Map(
		Array.from(a, ([name, values]) => [
			name,
			values.map((value, i) => of(value, b.get(name)?.[i] as number, name)),
		]),
	);
}

function mapShapes(source: (name: string) => () => number): Weights {
	return new Map(
		Array.from(SHAPES, ([name, shape]) => {
			const next = source(name);
			const length = shape.reduce((a, b) => a * b, 1);
			return [name, Float64Array.from({ length }, next)];
		}),
	);
}
