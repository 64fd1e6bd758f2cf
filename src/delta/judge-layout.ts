import type { CheckpointLayout } from "../checkpoint/checkpoint.ts";
import type { Doubt } from "./doubt.ts";

/** LLaMA-1's sizes by the length of their hidden vectors. */
const LLAMA_SIZES: ReadonlyMap<number, string> = new Map([
	[4096, "7B"],
	[5120, "13B"],
	[6656, "30B"],
	[8192, "65B"],
]);

/** Judge inputs by what their headers say: adapters, and models of another size. */
export function judgeLayouts(
	base: CheckpointLayout,
	delta: CheckpointLayout,
): Doubt[] {
	return [
		...judgeAdapter("base", base),
		...judgeAdapter("delta", delta),
		...judgeSizes(base, delta),
	];
}

function judgeAdapter(side: string, layout: CheckpointLayout): Doubt[] {
	const file = layout.shards.find(({ fileName }) =>
		/^adapter_model\b/.test(fileName),
	);
	const tensor = [...layout.tensors.keys()].find((name) =>
		/\blora_(?:A|B|embedding_A|embedding_B)\b/.test(name),
	);
	if (file === undefined && tensor === undefined) return [];
	return [
		{
			refuses: true,
			where: layout.location,
			what: `an adapter (LoRA or the like), not a ${side} of full tensors`,
			found: file?.fileName ?? tensor ?? "",
			remedy: "Merge adapters with PEFT's merge_and_unload",
		},
	];
}

function judgeSizes(base: CheckpointLayout, delta: CheckpointLayout): Doubt[] {
	const [b, d] = [hiddenSize(base), hiddenSize(delta)];
	if (b === null || d === null || b === d) return [];
	return [
		{
			refuses: true,
			where: delta.location,
			what: `the delta is for a model of another size than the base ${base.location}`,
			expected: named(b, base),
			found: named(d, delta),
			remedy: "Give the base of the delta's size, or the delta of the base's",
		},
	];
}

/** Length of the hidden vectors: columns of the token embedding; null where there is none. */
function hiddenSize({ tensors }: CheckpointLayout): number | null {
	for (const [name, { shape }] of tensors)
		if (/(?:^|\.)(?:embed_tokens|tok_embeddings)\.weight$/.test(name))
			return shape.length === 2 ? (shape[1] ?? null) : null;
	return null;
}

/** `13B (5120)`, or the number alone where it is no LLaMA. */
function named(size: number, { tensors }: CheckpointLayout): string {
	const label = LLAMA_SIZES.get(size);
	const isLlama = [...tensors.keys()].some((name) =>
		/\.(?:self_attn\.q_proj|attention\.wq)\.weight$/.test(name),
	);
	return label !== undefined && isLlama
		? `${label} (${size})`
		: `hidden size ${size}`;
}
