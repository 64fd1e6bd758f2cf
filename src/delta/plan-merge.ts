import type { CheckpointLayout } from "../checkpoint/checkpoint.ts";
import { MismatchError } from "../errors.ts";
import { encodeHeader } from "../format/safetensors-writer.ts";
import { encodeShardIndex } from "../format/shard-index.ts";
import { shardFileName } from "../format/shard-name.ts";
import type { Dtype, FloatDtype } from "../tensor/dtype.ts";
import {
	elementCount,
	hasMoreRows,
	tensorByteLength,
} from "../tensor/tensor.ts";
import { chooseRecipes } from "./choose-recipes.ts";
import type { Convention, ConventionChanges, Side } from "./convention.ts";
import { type ConventionId, conventionOf } from "./conventions.ts";
import { mainDtype } from "./main-dtype.ts";
import { counted } from "./mismatch.ts";
import {
	type OutputTensor,
	type Pairing,
	pairTensors,
	ROTARY,
} from "./pair-tensors.ts";
import {
	type MergePlan,
	type OutputShard,
	PLAN_VERSION,
	type PlanInput,
} from "./plan.ts";
import { expectedSum } from "./published-sum.ts";
import { Fills, planTensor, type Recipe } from "./segments.ts";
import { layOutShards, type ShardLayout } from "./shard-layout.ts";

/** What transformers writes into every file. */
export const METADATA = new Map([["format", "pt"]]);

export interface PlanOptions {
	/** type of every output tensor; null: what the convention says */
	dtype: FloatDtype | null;
	/** what is to be different from the convention */
	changes: ConventionChanges;
	/** what the elements must add up to; null: what was published, if anything was; `any`: whatever they do */
	sum: number | "any" | null;
	/** how the output is cut into shards; default: as on the side the convention loops over */
	layout?: ShardLayout;
}

/** A plan, and what a person should know about it. */
export interface Planned {
	plan: MergePlan;
	warnings: readonly string[];
}

/**
 * Plan the merge of two checkpoints under one convention. Pure: reads nothing but the layouts.
 * Shards get the names transformers would give them.
 *
 * @throws {MismatchError} where the two do not fit together under this convention
 */
export function planMerge(
	base: CheckpointLayout,
	delta: CheckpointLayout,
	id: ConventionId,
	options: PlanOptions,
): Planned {
	const { changes } = options;
	const convention = conventionOf(id, changes);
	const pairing = pairTensors(base, delta, convention);
	if (pairing.tensors.length === 0)
		throw new MismatchError({
			where: base.location,
			what: "the base holds no tensor",
			remedy: "Name a model",
		});
	const recipes = chooseRecipes(pairing, convention, options.dtype, delta);
	const fills = new Fills();
	const { layout = null } = options;
	const shards = planShards(pairing, recipes, fills, layout);
	const totals = countTotals(shards, pairing);
	const sideFiles = planSideFiles(base, delta, convention, pairing);
	return {
		plan: {
			version: PLAN_VERSION,
			convention: id,
			changes,
			inputs: [inputOf("base", base), inputOf("delta", delta)],
			fills: fills.list,
			shards,
			index: planIndex(shards, totals),
			sideFiles: sideFiles.files,
			sum: planSum(id, pairing, options),
			totals,
		},
		warnings: [
			...dtypeWarnings(delta, convention, id),
			...droppedWarnings(base, "base", pairing, id),
			...droppedWarnings(delta, "delta", pairing, id),
			...sideFiles.warnings,
		],
	};
}

/** Tolerance of a sum that a person has given: Alpaca's, or relative as AlpacaFarm's for large ones. */
const SUM_TOLERANCE = { absolute: 1e-2, relative: 1e-5 };

function planSum(
	id: ConventionId,
	{ tensors }: Pairing,
	{ dtype, changes, sum }: PlanOptions,
): MergePlan["sum"] {
	const names = tensors.map(({ name }) => name);
	if (sum === "any") return null;
	if (sum !== null) {
		const accept = [{ of: "this model", sum }];
		const { absolute, relative } = SUM_TOLERANCE;
		const tolerance = Math.max(absolute, relative * Math.abs(sum));
		return { accept, tolerance, tensors: names };
	}
	if (dtype !== null || Object.keys(changes).length > 0) return null;
	const elements = tensors
		.filter(({ name }) => !ROTARY.test(name))
		.reduce((count, { shape }) => count + (elementCount(shape) ?? 0), 0);
	return expectedSum(id, elements, names);
}

/** A delta of another type than those that were published may have been made by another rule. */
function dtypeWarnings(
	delta: CheckpointLayout,
	{ deltaDtype }: Convention,
	id: ConventionId,
): string[] {
	const dtype = mainDtype(delta);
	return deltaDtype === null || dtype === null || dtype === deltaDtype
		? []
		: [
				`${delta.location}: deltas for ${id} were published as ${deltaDtype}, and this one is ${dtype}: was it made with another convention?`,
			];
}

/** What is said of tensors that one side has and the other lacks. */
export function droppedWarnings(
	{ location }: CheckpointLayout,
	side: Side,
	{ dropped }: Pairing,
	id: ConventionId,
): string[] {
	const names = dropped[side];
	const shown = `${names.slice(0, 3).join(", ")}${names.length > 3 ? ", …" : ""}`;
	return names.length === 0
		? []
		: [
				`${location}: ${counted(names.length)} only the ${side} has, dropped as ${id} does: ${shown}`,
			];
}

function planShards(
	{ tensors }: Pairing,
	recipes: ReadonlyMap<string, Recipe>,
	fills: Fills,
	layout: ShardLayout,
): OutputShard[] {
	const shards = layOutShards(tensors, layout, ({ name, shape }) => {
		const dtype = outDtype(recipeOf(recipes, name));
		return tensorByteLength({ dtype, shape }) ?? Number.POSITIVE_INFINITY;
	});
	return shards.map((shard, i) =>
		planShard(shardFileName(i, shards.length), shard, recipes, fills),
	);
}

function recipeOf(recipes: ReadonlyMap<string, Recipe>, name: string): Recipe {
	const recipe = recipes.get(name);
	if (!recipe) throw new RangeError(`no recipe for ${name}`);
	return recipe;
}

function planShard(
	fileName: string,
	outputs: readonly OutputTensor[],
	recipes: ReadonlyMap<string, Recipe>,
	fills: Fills,
): OutputShard {
	const { json, byteLength, tensors } = encodeHeader(
		outputs.map(({ name, shape }) => ({
			...{ name, shape, dtype: outDtype(recipeOf(recipes, name)) },
		})),
		METADATA,
		fileName,
	);
	return {
		fileName,
		byteLength: byteLength + (tensors.at(-1)?.dataOffsets[1] ?? 0),
		header: json,
		sha256: null,
		segments: tensors.flatMap(({ name, dataOffsets: [begin] }) =>
			planTensor(name, recipeOf(recipes, name), byteLength + begin, fills),
		),
	};
}

function outDtype(recipe: Recipe): Dtype {
	switch (recipe.kind) {
		case "sum":
			return recipe.spec.out;
		case "copy":
			return recipe.delta.dtype;
		case "cast":
			return recipe.out;
	}
}

function countTotals(
	shards: readonly OutputShard[],
	{ tensors }: Pairing,
): MergePlan["totals"] {
	let elements = 0;
	for (const { shape } of tensors) elements += elementCount(shape) ?? 0;
	let byteLength = 0;
	for (const { segments } of shards)
		for (const segment of segments) byteLength += segment.byteLength;
	return { tensors: tensors.length, elements, byteLength };
}

/** Text of the index of these shards; null where one is enough. */
export function planIndex(
	shards: readonly OutputShard[],
	totals: MergePlan["totals"],
): string | null {
	if (shards.length === 1) return null;
	const weightMap = new Map<string, string>();
	for (const { fileName, segments } of shards)
		for (const { tensor } of segments) weightMap.set(tensor, fileName);
	return encodeShardIndex(weightMap, totals.byteLength, totals.elements);
}

function planSideFiles(
	base: CheckpointLayout,
	delta: CheckpointLayout,
	convention: Convention,
	pairing: Pairing,
): { files: MergePlan["sideFiles"]; warnings: string[] } {
	const layouts = { base, delta };
	const files: { fileName: string; from: Side; vocabSize: number | null }[] =
		[];
	const warnings: string[] = [];
	const sides = {
		config: convention.configFrom,
		tokenizer: convention.tokenizerFrom,
	};
	for (const kind of ["config", "tokenizer"] as const) {
		const from = sides[kind];
		if (from === null) continue;
		const found = layouts[from].sideFiles.filter((file) => file.kind === kind);
		for (const { fileName } of found)
			if (fileName !== "generation_config.json" || convention.generationConfig)
				files.push({
					fileName,
					from,
					vocabSize: vocabSizeOf(fileName, from, pairing),
				});
		if (found.length === 0)
			warnings.push(
				`${layouts[from].location}: no ${kind} file, so the merged model has none`,
			);
	}
	return { files, warnings };
}

/** The base's config must tell of the rows that its embeddings got; null: the file is right as it is. */
function vocabSizeOf(
	fileName: string,
	from: Side,
	{ tensors }: Pairing,
): number | null {
	if (fileName !== "config.json" || from !== "base") return null;
	const grown = tensors.find(
		({ base, delta }) => base && hasMoreRows(delta.shape, base.shape),
	);
	return grown?.delta.shape[0] ?? null;
}

export function inputOf(
	side: PlanInput["side"],
	layout: CheckpointLayout,
): PlanInput {
	return {
		side,
		shards: layout.shards.map(({ fileName, byteLength }) => ({
			fileName,
			byteLength,
		})),
	};
}
