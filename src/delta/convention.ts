import type { FloatDtype } from "../tensor/dtype.ts";

/** Which of the two checkpoints. */
export type Side = "base" | "delta";

/** What a published delta means: the rule by which its own script merges it. */
export interface Convention {
	/** one sentence for people */
	readonly summary: string;
	/** type both operands are rounded to before they are added; null: as they are stored */
	readonly cast: FloatDtype | null;
	/** type of the tensors of its deltas; null: that of the target they are made from */
	readonly deltaDtype: FloatDtype | null;
	/** type of the sum; null: that of the operands, which must then be the same */
	readonly out: FloatDtype | null;
	/** what to do with tensors only the delta has; one that only the base has is always an error */
	readonly deltaOnly: "drop" | "refuse";
	/** where config.json and generation_config.json come from */
	readonly configFrom: Side;
	readonly tokenizerFrom: Side;
}

/** Every convention, in the order `auto` prefers among those that give the same bytes. */
export const CONVENTIONS = {
	// FastChat's apply_delta.py since 0.2: both models loaded as float16, `param += delta[name]` over the base.
	"fastchat-v1.1": {
		summary: "FastChat 0.2 and later (Vicuna v1.1): both sides as F16, F16 out",
		cast: "F16",
		deltaDtype: "F16",
		out: "F16",
		deltaOnly: "drop",
		configFrom: "base",
		tokenizerFrom: "delta",
	},
	add: {
		summary: "plain sum of tensors of one dtype, in that dtype",
		cast: null,
		deltaDtype: null,
		out: null,
		deltaOnly: "refuse",
		configFrom: "base",
		tokenizerFrom: "delta",
	},
} as const satisfies Record<string, Convention>;

export type ConventionId = keyof typeof CONVENTIONS;

export const CONVENTION_IDS = Object.keys(CONVENTIONS) as ConventionId[];
