import type {
	CheckpointLayout,
	CheckpointTensor,
} from "../checkpoint/checkpoint.ts";
import { MismatchError } from "../errors.ts";
import { formatShape, hasMoreRows } from "../tensor/tensor.ts";

const LISTED = 20;

/** Two tensors of one name and different shapes. */
export interface Misshapen {
	base: CheckpointTensor;
	delta: CheckpointTensor;
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

/** Refusal of a delta that lacks tensors of the base. */
export function missingTensors(
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

/** Refusal of tensors whose shapes differ where the convention has no rule for it. */
export function misshapenTensors(
	base: CheckpointLayout,
	delta: CheckpointLayout,
	pairs: readonly Misshapen[],
): MismatchError {
	return new MismatchError({
		where: delta.location,
		what: `${counted(pairs.length)} ${pairs.length === 1 ? "differs" : "differ"} in shape from the base ${base.location}`,
		remedy: pairs.every(({ base, delta }) =>
			hasMoreRows(delta.shape, base.shape),
		)
			? "The delta's vocabulary is longer than the base's: name the convention it was made with, such as --convention fastchat-v0 or alpaca (see merge-delta conventions)"
			: baseSizeRemedy(pairs),
		details: listed(
			pairs.map(
				({ base: b, delta: d }) =>
					`${b.name}: base ${formatShape(b.shape)}, delta ${formatShape(d.shape)}`,
			),
		),
	});
}

/** Refusal of a delta of the base's own size under a convention whose script always grows the base. */
export function nothingGrown(
	base: CheckpointLayout,
	delta: CheckpointLayout,
): MismatchError {
	const token = base.addedTokens.find((each) => /^[[<]pad[\]>]$/i.test(each));
	return new MismatchError({
		where: delta.location,
		what: "its embeddings have no more rows than the base's, and the script of this convention always adds a token to the base",
		...(token === undefined ? {} : { found: `${token} in the base already` }),
		remedy:
			token === undefined
				? "Name a convention that grows nothing, such as --convention fastchat-v1.1 or knowlm"
				: "The script would have emptied or refused these embeddings: use the base without that token",
	});
}

/** LLaMA's sizes, by the length of their norms. */
const MODEL_SIZES = new Map([
	[4096, "7B"],
	[5120, "13B"],
	[6656, "30B"],
	[8192, "65B"],
]);

function baseSizeRemedy(pairs: readonly Misshapen[]): string {
	const norm = pairs.find(({ base }) => base.shape.length === 1);
	const [mine, other] = [norm?.base.shape[0], norm?.delta.shape[0]].map(
		(width) => MODEL_SIZES.get(width ?? 0),
	);
	return mine && other
		? `The base is of ${mine}, the delta of ${other}: use the base this delta was made for`
		: "Use the base this delta was made for";
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
