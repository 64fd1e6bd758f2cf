import type { FloatDtype } from "../tensor/dtype.ts";

/** Which of the two checkpoints. */
export type Side = "base" | "delta";

/**
 * What becomes of an embedding whose delta has more rows than the base. `none`: refused. `zero` and `mean`:
 * the base gets rows of zeros, or of the mean of its rows. `slice`: the base is added to the corner it
 * covers. `verbatim`: any tensor of another shape is the delta's.
 */
export const GROW_RULES = [
	"none",
	"zero",
	"mean",
	"slice",
	"verbatim",
	"pad",
] as const;
export type GrowRule = (typeof GROW_RULES)[number];

/** What a published delta means: the rule by which its own script merges it. */
export interface Convention {
	/** one sentence for people */
	readonly summary: string;
	/** who published deltas of this kind */
	readonly publishedBy: string;
	/** type both operands are rounded to before they are added; null: as they are stored */
	readonly cast: FloatDtype | null;
	/** type of the tensors of its deltas that are sums; null: that of the target they are made from */
	readonly deltaDtype: FloatDtype | null;
	/** type of the sum; `base`: that of the base's tensor; null: that of the operands, which must be the same */
	readonly out: FloatDtype | "base" | null;
	/** whether the script takes the base away from the delta */
	readonly subtract: boolean;
	/** parts of the names of tensors that are summed, all others being the delta's; none: all are summed */
	readonly summed: readonly string[];
	readonly grow: GrowRule;
	/** whether the script always adds tokens to the base, and so fits no delta of the base's own size */
	readonly mustGrow: boolean;
	/** whose tensors the output has, in whose shards */
	readonly loop: Side;
	/** parts of the names of tensors that are the delta's as they are */
	readonly verbatim: readonly string[];
	/** type those are rounded to; null: as they are stored */
	readonly verbatimOut: FloatDtype | null;
	/** what to do with other tensors that only the delta has */
	readonly deltaOnly: "drop" | "refuse" | "verbatim";
	/** what the delta's names begin with where the base's do not */
	readonly prefix: string;
	/** where config.json and generation_config.json come from */
	readonly configFrom: Side;
	/** whether generation_config.json comes too */
	readonly generationConfig: boolean;
	/** null: the output gets no tokenizer */
	readonly tokenizerFrom: Side | null;
	/** what `auto` must see before it considers this; null: it never does, because another one would look the same */
	readonly expects: Evidence | null;
}

/** What the headers of a delta show. */
export interface Evidence {
	/** type of most of its bytes */
	readonly dtype: FloatDtype;
	/** how many more rows than the base's its embeddings have; null: any number */
	readonly grown: "none" | "one" | "some" | "several" | null;
	/** part of a name that only such deltas have */
	readonly name: string | null;
}

/** What may be different in a convention of one's own; `cast` is the type of the result too. */
export type ConventionChanges = Partial<
	Pick<
		Convention,
		| "cast"
		| "grow"
		| "loop"
		| "verbatim"
		| "prefix"
		| "configFrom"
		| "tokenizerFrom"
	>
>;
