import type {
	CheckpointLayout,
	CheckpointTensor,
} from "../checkpoint/checkpoint.ts";
import { MismatchError } from "../errors.ts";
import { formatShape, sameShape } from "../tensor/tensor.ts";

const LISTED = 20;

/** A tensor of the output with its operands. */
export interface TensorPair {
	base: CheckpointTensor;
	delta: CheckpointTensor;
}

/**
 * Pair each tensor of the base with the delta's of the same name; names are compared byte by byte.
 *
 * @returns the pairs in the base's order, and the names only the delta has
 * @throws {MismatchError} listing every tensor that is missing or of another shape
 */
export function pairTensors(
	base: CheckpointLayout,
	delta: CheckpointLayout,
): { pairs: TensorPair[]; deltaOnly: string[] } {
	const pairs: TensorPair[] = [];
	const missing: string[] = [];
	const misshapen: TensorPair[] = [];
	for (const [name, tensor] of base.tensors) {
		const other = delta.tensors.get(name);
		if (other === undefined) missing.push(name);
		else if (sameShape(tensor.shape, other.shape))
			pairs.push({ base: tensor, delta: other });
		else misshapen.push({ base: tensor, delta: other });
	}
	const deltaOnly = [...delta.tensors.keys()].filter(
		(name) => !base.tensors.has(name),
	);
	if (missing.length > 0) throw missingTensors(base, delta, missing, deltaOnly);
	if (misshapen.length > 0) throw misshapenTensors(base, delta, misshapen);
	return { pairs, deltaOnly };
}

/** Refusal of tensors that only the delta has. */
export function extraTensors(
	base: CheckpointLayout,
	delta: CheckpointLayout,
	extra: readonly string[],
): MismatchError {
	return new MismatchError({
		where: delta.location,
		what: `${counted(extra.length)} of the delta ${isOrAre(extra)} not in the base ${base.location}`,
		remedy:
			"Use the base this delta was made for, or a convention that drops such tensors",
		details: listed(extra),
	});
}

function missingTensors(
	base: CheckpointLayout,
	delta: CheckpointLayout,
	missing: readonly string[],
	deltaOnly: readonly string[],
): MismatchError {
	return new MismatchError({
		where: delta.location,
		what: `${counted(missing.length)} of the base ${base.location} ${isOrAre(missing)} not in the delta`,
		...(deltaOnly.length === 0
			? {}
			: { found: `${counted(deltaOnly.length)} that the base lacks` }),
		remedy: missingRemedy(missing, deltaOnly),
		details: [
			...listed(missing),
			...(deltaOnly.length === 0 ? [] : ["only in the delta:"]),
			...listed(deltaOnly),
		],
	});
}

function missingRemedy(
	missing: readonly string[],
	deltaOnly: readonly string[],
): string {
	if (deltaOnly.some((name) => /\blora_[AB]\b/.test(name)))
		return "The delta is a LoRA adapter, which needs another kind of merge";
	const normalised = new Set(deltaOnly.map((name) => name.normalize("NFC")));
	if (missing.some((name) => normalised.has(name.normalize("NFC"))))
		return "Some names differ only in Unicode normalisation; names are compared byte by byte";
	return "Use the base this delta was made for";
}

function misshapenTensors(
	base: CheckpointLayout,
	delta: CheckpointLayout,
	pairs: readonly TensorPair[],
): MismatchError {
	return new MismatchError({
		where: delta.location,
		what: `${counted(pairs.length)} ${pairs.length === 1 ? "differs" : "differ"} in shape from the base ${base.location}`,
		remedy: pairs.every(isGrownVocabulary)
			? "The delta's vocabulary is longer than the base's: it was made by a convention that grows the base, which cannot be applied yet"
			: "Use the base this delta was made for",
		details: listed(
			pairs.map(
				({ base: b, delta: d }) =>
					`${b.name}: base ${formatShape(b.shape)}, delta ${formatShape(d.shape)}`,
			),
		),
	});
}

/** 32000 → 32001 rows and the like: only the first dimension grows. */
function isGrownVocabulary({ base, delta }: TensorPair): boolean {
	return (
		(delta.shape[0] ?? 0) > (base.shape[0] ?? 0) &&
		sameShape(base.shape.slice(1), delta.shape.slice(1))
	);
}

/** The first names, and how many more there are. */
export function listed(names: readonly string[]): string[] {
	const more = names.length - LISTED;
	return more > 0
		? [...names.slice(0, LISTED), `… and ${more} more`]
		: [...names];
}

export function counted(count: number): string {
	return count === 1 ? "1 tensor" : `${count} tensors`;
}

function isOrAre(names: readonly string[]): string {
	return names.length === 1 ? "is" : "are";
}
