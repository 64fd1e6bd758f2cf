import type {
	CheckpointLayout,
	CheckpointTensor,
} from "../checkpoint/checkpoint.ts";
import { MismatchError } from "../errors.ts";
import {
	FLOAT_DTYPES,
	type FloatDtype,
	isFloatDtype,
} from "../tensor/dtype.ts";
import type { Convention } from "./convention.ts";
import { counted, listed } from "./mismatch.ts";
import type { Pairing } from "./pair-tensors.ts";
import type { Recipe } from "./segments.ts";

/**
 * How each tensor of the output is made, by its name.
 *
 * @param dtype  type of every tensor; null: what the convention says
 * @throws {MismatchError} listing all tensors whose types cannot be added, or give no type for the sum
 */
export function chooseRecipes(
	{ tensors }: Pairing,
	convention: Convention,
	dtype: FloatDtype | null,
	{ location: where }: CheckpointLayout,
): Map<string, Recipe> {
	const recipes = new Map<string, Recipe>();
	const uncountable: string[] = [];
	const unequal: string[] = [];
	for (const { name, base, delta } of tensors) {
		if (base === null) {
			recipes.set(name, ownRecipe(delta, dtype ?? convention.verbatimOut));
			continue;
		}
		const types = `${name}: base ${base.dtype}, delta ${delta.dtype}`;
		if (!isFloatDtype(base.dtype) || !isFloatDtype(delta.dtype)) {
			uncountable.push(types);
			continue;
		}
		const [a, b] = [base.dtype, delta.dtype];
		const out = dtype ?? outOf(convention, a, b);
		if (out === null) {
			unequal.push(types);
			continue;
		}
		const { cast: wanted, grow, subtract } = convention;
		const cast = a === wanted && b === wanted ? null : wanted;
		const spec = { base: a, delta: b, cast, out, subtract };
		recipes.set(name, { kind: "sum", base, delta, spec, grow });
	}
	if (uncountable.length > 0)
		throw new MismatchError({
			where,
			what: `${counted(uncountable.length)} cannot be added`,
			expected: `dtypes among ${FLOAT_DTYPES.join(", ")}`,
			remedy: "Sums of other types are undefined: use checkpoints without them",
			details: listed(uncountable),
		});
	if (unequal.length > 0)
		throw new MismatchError({
			where,
			what: `${counted(unequal.length)} of another dtype than in the base`,
			remedy: `Say which dtype the sum shall have: --dtype ${FLOAT_DTYPES.join("|")}`,
			details: listed(unequal),
		});
	return recipes;
}

function outOf(
	{ out }: Convention,
	base: FloatDtype,
	delta: FloatDtype,
): FloatDtype | null {
	if (out === "base") return base;
	if (out !== null) return out;
	return base === delta ? base : null;
}

function ownRecipe(delta: CheckpointTensor, out: FloatDtype | null): Recipe {
	const { dtype: from } = delta;
	return out === null || out === from || !isFloatDtype(from)
		? { kind: "copy", delta }
		: { kind: "cast", delta, from, out };
}
