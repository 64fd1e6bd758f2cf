import type { CheckpointLayout } from "../checkpoint/checkpoint.ts";
import { memberOf } from "../format/loose-json.ts";
import type { Doubt } from "./doubt.ts";

/** What config.json holds, whatever that is; null where there is none. */
export type ModelConfig = unknown;

/** Fields that say how weights are used and cannot be seen from their shapes; some moved into another over time. */
const MEANINGS: readonly (readonly string[])[] = [
	["model_type"],
	["num_attention_heads"],
	["num_key_value_heads"],
	["hidden_act"],
	["rms_norm_eps"],
	["rope_theta", "rope_parameters"],
];
const EMBEDDING = /(^|\.)embed_tokens\.weight$/;
const SHOWN_CHARACTERS = 40;

/** Judge the configs of both sides: whether they agree with each other, and each with its own embeddings. */
export function judgeConfigs(
	base: CheckpointLayout & { config: ModelConfig },
	delta: CheckpointLayout & { config: ModelConfig },
): Doubt[] {
	return [
		...judgeVocabulary(base),
		...judgeVocabulary(delta),
		...judgeAgreement(base, delta),
	];
}

function judgeVocabulary({
	location,
	tensors,
	config,
}: CheckpointLayout & { config: ModelConfig }): Doubt[] {
	const said = fieldOf(config, ["vocab_size"]);
	const embedding = [...tensors.values()].find(({ name }) =>
		EMBEDDING.test(name),
	);
	const rows = embedding?.shape[0];
	if (typeof said !== "number" || rows === undefined || rows === said)
		return [];
	return [
		{
			refuses: false,
			where: location,
			what: `config.json says vocab_size ${said}`,
			found: `${rows} rows in ${embedding?.name}`,
			remedy:
				"Are config and tokenizer of these weights? A model loads only where both agree",
		},
	];
}

function judgeAgreement(
	base: CheckpointLayout & { config: ModelConfig },
	delta: CheckpointLayout & { config: ModelConfig },
): Doubt[] {
	const found = MEANINGS.flatMap((names) => {
		const [ours, theirs] = [
			fieldOf(base.config, names),
			fieldOf(delta.config, names),
		];
		return ours === undefined || theirs === undefined || ours === theirs
			? []
			: [`${names[0]} ${shown(ours)} and ${shown(theirs)}`];
	});
	if (found.length === 0) return [];
	return [
		{
			refuses: false,
			where: delta.location,
			what: "the configs of base and delta disagree",
			found: found.join(", "),
			remedy: "Is it the right base? The merged model gets one of the two",
		},
	];
}

/** A field of a config: the first of the names, or the same within the object of another's. */
function fieldOf(
	config: ModelConfig,
	[name = "", ...within]: readonly string[],
): string | number | boolean | undefined {
	for (const holder of [
		config,
		...within.map((key) => memberOf(config, key)),
	]) {
		const value = memberOf(holder, name);
		if (["string", "number", "boolean"].includes(typeof value))
			return value as string | number | boolean;
	}
	return undefined;
}

function shown(value: string | number | boolean): string {
	return JSON.stringify(value).slice(0, SHOWN_CHARACTERS);
}
