import type {
	CheckpointLayout,
	CheckpointTensor,
} from "../checkpoint/checkpoint.ts";
import { hasMoreRows, sameShape } from "../tensor/tensor.ts";
import type { Convention, Side } from "./convention.ts";
import {
	extraTensors,
	type Misshapen,
	misshapenTensors,
	missingTensors,
	nothingGrown,
} from "./mismatch.ts";

/** A tensor of the output and what it is made of: a sum where there is a base, else the delta's own. */
export interface OutputTensor {
	name: string;
	shape: readonly number[];
	/** which shard of the side that is looped over it stands in */
	shardIndex: number;
	base: CheckpointTensor | null;
	delta: CheckpointTensor;
}

/** What a convention makes of two checkpoints. */
export interface Pairing {
	/** in the order of the side that is looped over */
	tensors: OutputTensor[];
	/** names that are left out, by the side that has them */
	dropped: Record<Side, string[]>;
}

/** Positions are computed from the configuration today, and were stored until 2023. */
export const ROTARY = /rotary_emb\.inv_freq$/;
const EMBEDDING = /(^|\.)(embed_tokens|lm_head)\.weight$/;

/**
 * Pair the tensors of two checkpoints as a convention does; names are compared byte by byte.
 *
 * @throws {MismatchError} listing every tensor that is missing, too many, or of another shape
 */
export function pairTensors(
	base: CheckpointLayout,
	delta: CheckpointLayout,
	convention: Convention,
): Pairing {
	const pairer = new Pairer(base, delta, convention);
	return convention.loop === "base" ? pairer.overBase() : pairer.overDelta();
}

class Pairer {
	private readonly base: CheckpointLayout;
	private readonly delta: CheckpointLayout;
	private readonly convention: Convention;
	private readonly misshapen: Misshapen[] = [];
	private readonly dropped: Record<Side, string[]> = { base: [], delta: [] };

	constructor(
		base: CheckpointLayout,
		delta: CheckpointLayout,
		convention: Convention,
	) {
		this.base = base;
		this.delta = delta;
		this.convention = convention;
	}

	/** Each tensor of the base needs one of the delta. */
	overBase(): Pairing {
		const { base, delta, convention } = this;
		const missing: string[] = [];
		const tensors: OutputTensor[] = [];
		for (const [name, mine] of base.tensors) {
			const other = delta.tensors.get(convention.prefix + name);
			if (other) tensors.push(this.pair(mine, other, mine));
			else if (ROTARY.test(name)) this.dropped.base.push(name);
			else missing.push(name);
		}
		const extra = [...delta.tensors.keys()].filter(
			(name) => !base.tensors.has(this.baseName(name)),
		);
		if (missing.length > 0) throw missingTensors(base, delta, missing, extra);
		const refused = extra.filter((name) => !ROTARY.test(name));
		if (convention.deltaOnly === "refuse" && refused.length > 0)
			throw extraTensors(base, delta, refused);
		this.dropped.delta.push(...extra);
		return this.finish(tensors);
	}

	/** Each tensor of the delta needs one of the base, unless it is taken as it is. */
	overDelta(): Pairing {
		const { base, delta, convention } = this;
		const extra: string[] = [];
		const used = new Set<string>();
		const tensors: OutputTensor[] = [];
		for (const [name, mine] of delta.tensors) {
			const other = base.tensors.get(this.baseName(name));
			if (other) used.add(other.name);
			if (this.isOwn(name)) tensors.push(alone(mine));
			else if (other) tensors.push(this.pair(other, mine, mine));
			else if (ROTARY.test(name)) this.dropped.delta.push(name);
			else if (convention.deltaOnly === "verbatim") tensors.push(alone(mine));
			else extra.push(name);
		}
		const missing = [...base.tensors.keys()].filter((name) => !used.has(name));
		if (used.size === 0 && missing.length > 0)
			throw missingTensors(base, delta, missing, [...delta.tensors.keys()]);
		if (extra.length > 0) throw extraTensors(base, delta, extra);
		this.dropped.base.push(...missing);
		return this.finish(tensors);
	}

	private finish(tensors: OutputTensor[]): Pairing {
		const { base, delta, convention, misshapen } = this;
		if (misshapen.length > 0) throw misshapenTensors(base, delta, misshapen);
		const grown = tensors.some(
			(each) => each.base && !sameShape(each.base.shape, each.delta.shape),
		);
		if (convention.mustGrow && !grown) throw nothingGrown(base, delta);
		return { tensors: untied(tensors), dropped: this.dropped };
	}

	private pair(
		base: CheckpointTensor,
		delta: CheckpointTensor,
		{ name, shardIndex }: CheckpointTensor,
	): OutputTensor {
		const { grow } = this.convention;
		const { shape } = delta;
		if (sameShape(base.shape, shape))
			return { name, shardIndex, shape, base, delta };
		const onlyPad = (shape[0] ?? 0) === (base.shape[0] ?? 0) + 1;
		if (grow === "verbatim" || (grow === "pad" && !onlyPad))
			return { ...alone(delta), name, shardIndex };
		const fits =
			EMBEDDING.test(base.name) &&
			(grow === "slice"
				? isCorner(base, delta)
				: hasMoreRows(shape, base.shape));
		if (grow === "none" || !fits) this.misshapen.push({ base, delta });
		return { name, shardIndex, shape, base, delta };
	}

	/** Whether the convention says of a name that its tensor is the delta's. */
	private isOwn(name: string): boolean {
		const { verbatim, summed } = this.convention;
		const isSummed =
			summed.length === 0 || summed.some((p) => name.includes(p));
		return !isSummed || verbatim.some((part) => name.includes(part));
	}

	/** The base's name for a tensor of the delta. */
	private baseName(name: string): string {
		const { prefix } = this.convention;
		return name.startsWith(prefix) ? name.slice(prefix.length) : name;
	}
}

/** transformers leaves this one out of a file, whatever it is tied to. */
const TIED_OUTPUT = /(^|\.)lm_head\.weight$/;

/**
 * Of tensors that share their bytes on both sides one is kept, as transformers keeps one when it saves:
 * not the output layer, and else the first by name.
 */
function untied(tensors: readonly OutputTensor[]): OutputTensor[] {
	const groups = new Map<string, OutputTensor[]>();
	for (const tensor of tensors) {
		const roots = [tensor.base, tensor.delta].map(
			(side) => side && (side.tiedTo ?? side.name),
		);
		const key = JSON.stringify(roots);
		groups.set(key, [...(groups.get(key) ?? []), tensor]);
	}
	const kept = new Set(
		Array.from(groups.values(), (group) => {
			const names = group.map(({ name }) => name).sort();
			return names.find((name) => !TIED_OUTPUT.test(name)) ?? names[0];
		}),
	);
	return tensors.filter(({ name }) => kept.has(name));
}

function alone(delta: CheckpointTensor): OutputTensor {
	const { name, shape, shardIndex } = delta;
	return { name, shape, shardIndex, base: null, delta };
}

function isCorner(base: CheckpointTensor, delta: CheckpointTensor): boolean {
	return (
		base.shape.length === 2 &&
		delta.shape.length === 2 &&
		base.shape.every((dimension, i) => dimension <= (delta.shape[i] ?? 0))
	);
}
