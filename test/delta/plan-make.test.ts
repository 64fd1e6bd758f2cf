import { describe, expect, test } from "vitest";
import type {
	CheckpointLayout,
	CheckpointTensor,
} from "../../src/checkpoint/checkpoint.ts";
import type { Convention } from "../../src/delta/convention.ts";
import {
	CONVENTION_IDS,
	CONVENTIONS,
	type ConventionId,
} from "../../src/delta/conventions.ts";
import {
	type MergePlan,
	mergeSumsOf,
	type OutputShard,
	planId,
	sumsOf,
} from "../../src/delta/plan.ts";
import { planMake } from "../../src/delta/plan-make.ts";
import { planMerge } from "../../src/delta/plan-merge.ts";
import { MismatchError } from "../../src/errors.ts";
import { parseHeader } from "../../src/format/safetensors.ts";
import { headerBytes } from "../../src/format/safetensors-writer.ts";
import type { Dtype } from "../../src/tensor/dtype.ts";
import { tensorByteLength } from "../../src/tensor/tensor.ts";

type Tensors = Record<string, [dtype: Dtype, ...shape: number[]]>;

/** A checkpoint that exists on paper only: one list of tensors for each shard. */
function layout(location: string, ...shards: Tensors[]): CheckpointLayout {
	const tensors = new Map<string, CheckpointTensor>();
	const files = shards.map((shard, shardIndex) => {
		let fileOffset = 8;
		for (const [name, [dtype, ...shape]] of Object.entries(shard)) {
			const byteLength = tensorByteLength({ dtype, shape }) ?? 0;
			tensors.set(name, {
				...{ name, dtype, shape, shardIndex, fileOffset, byteLength },
			});
			fileOffset += byteLength;
		}
		return { fileName: `${shardIndex}.safetensors`, byteLength: fileOffset };
	});
	const sideFiles = [
		{ fileName: `config.json`, kind: "config" },
		{ fileName: `tokenizer.json`, kind: "tokenizer" },
	] as const;
	return { location, shards: files, tensors, sideFiles, addedTokens: [] };
}

const OPTIONS = { dtype: null, changes: {}, sum: null };
const make = (
	base: CheckpointLayout,
	target: CheckpointLayout,
	id: ConventionId = "add",
) => planMake(base, target, id, OPTIONS);
const headerOf = ({ header, byteLength, fileName }: OutputShard) =>
	parseHeader(headerBytes(header ?? ""), byteLength, fileName);

const base = layout("b", { x: ["F16", 3], y: ["F16", 2, 2] }, { z: ["F16"] });
const target = layout("t", { z: ["F16"] }, { x: ["F16", 3], y: ["F16", 2, 2] });

describe("the plan of a delta", () => {
	test("tiles every file with segments, header included, as the header says", () => {
		for (const shard of make(base, target).plan.shards) {
			const { header, segments, byteLength } = shard;
			let at = headerBytes(header ?? "").length;
			const { tensors } = headerOf(shard);
			for (const [i, segment] of segments.entries()) {
				expect(segment.tensor).toBe(tensors[i]?.name);
				expect(segment.fileOffset).toBe(at);
				at += segment.byteLength;
			}
			expect(at).toBe(byteLength);
		}
	});

	test("takes base from target, in the target's shards, with its config and tokenizer", () => {
		const { plan, warnings } = make(base, target);
		expect(warnings).toEqual([]);
		expect(
			plan.shards.map((s) => [s.fileName, s.segments.map((g) => g.tensor)]),
		).toEqual([
			["model-00001-of-00002.safetensors", ["z"]],
			["model-00002-of-00002.safetensors", ["x", "y"]],
		]);
		expect(plan.inputs.map(({ side }) => side)).toEqual(["base", "target"]);
		expect(plan.sideFiles).toEqual([
			{ fileName: "config.json", from: "target", vocabSize: null },
			{ fileName: "tokenizer.json", from: "target", vocabSize: null },
		]);
		const [, y] = plan.shards[1]?.segments ?? [];
		expect(y).toMatchObject({
			base: { input: 0, shard: 0, fileOffset: 14, byteLength: 8 },
			delta: { input: 1, shard: 1, fileOffset: 14, byteLength: 8 },
		});
		expect(sumsOf(plan)).toEqual(["F16 − F16 → F16"]);
		expect(plan.totals).toEqual({ tensors: 3, elements: 8, byteLength: 16 });
		expect(JSON.parse(plan.index ?? "").weight_map.z).toBe(
			"model-00001-of-00002.safetensors",
		);
	});

	test("survives JSON, and is not that of a merge", () => {
		const { plan } = make(base, target);
		expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
		expect(planId(plan)).not.toBe(
			planId(planMerge(base, target, "add", OPTIONS).plan),
		);
	});

	test.each(CONVENTION_IDS)("checks the very sums that %s will make", (id) => {
		const { grow, prefix, loop }: Convention = CONVENTIONS[id];
		const at = loop === "delta" ? prefix : "";
		const rows = grow === "none" ? 3 : 4;
		const ours = layout("b", {
			"model.embed_tokens.weight": ["F16", 3, 2],
			"model.norm.weight": ["F32", 2],
		});
		// Of the types that must be cast.
		const wide = layout("t", {
			[`${at}model.embed_tokens.weight`]: ["F16", rows, 2],
			[`${at}model.norm.weight`]: ["F32", 2],
		});
		const { plan } = make(ours, wide, id);
		const tensors: Tensors = {};
		for (const { name, dtype, shape } of headerOf(plan.shards[0] as OutputShard)
			.tensors)
			tensors[name] = [dtype, ...shape];
		const merge = planMerge(ours, layout("d", tensors), id, OPTIONS).plan;
		const segmentsOf = ({ shards }: MergePlan) =>
			shards.flatMap(({ segments }) => segments);
		const made = segmentsOf(plan);
		expect(mergeSumsOf(plan)).toEqual(sumsOf(merge));
		expect(mergeSumsOf(merge)).toBeNull();
		expect(made).toHaveLength(segmentsOf(merge).length);
		for (const [i, segment] of segmentsOf(merge).entries()) {
			const ours = made[i];
			if (segment.op !== "add" || ours?.op !== "add") continue;
			expect(ours.check).toEqual({ ...segment.spec, target: ours.spec.delta });
		}
	});

	test.each(CONVENTION_IDS)(
		"%s makes a delta of the type that its own have",
		(id) => {
			const { deltaDtype, grow, mustGrow, prefix }: Convention =
				CONVENTIONS[id];
			const rows = mustGrow && grow !== "none" ? 4 : 3;
			const ours = layout("b", {
				"model.embed_tokens.weight": ["F64", 3, 2],
				"model.norm.weight": ["F64", 2],
			});
			const wide = layout("t", {
				[`${prefix}model.embed_tokens.weight`]: ["F64", rows, 2],
				[`${prefix}model.norm.weight`]: ["F64", 2],
			});
			const { plan } = make(ours, wide, id);
			const { tensors } = headerOf(plan.shards[0] as OutputShard);
			// BiLLa's norm is what its merge copies.
			const expected = [deltaDtype ?? "F64"];
			if (id === "billa") expected.push("F64");
			expect([...new Set(tensors.map(({ dtype }) => dtype))].sort()).toEqual(
				expected,
			);
		},
	);

	test("what the convention says is the delta's is copied, or rounded and checked", () => {
		const ours = layout("b", { "model.embed_tokens.weight": ["F16", 3, 2] });
		const wide = layout("t", {
			"model.embed_tokens.weight": ["F16", 5, 2],
			"mm_projector.weight": ["F16", 2],
			"mm_projector.bias": ["F32", 2],
		});
		const { plan } = make(ours, wide, "llava");
		expect(
			plan.shards[0]?.segments.map((each) => [each.tensor, each.op]),
		).toEqual([
			["mm_projector.bias", "add"],
			["mm_projector.weight", "copy"],
			["model.embed_tokens.weight", "add"],
			["model.embed_tokens.weight", "copy"],
		]);
		expect(plan.shards[0]?.segments[0]).toMatchObject({
			spec: { base: "F16", delta: "F32", out: "F16", subtract: false },
			check: { base: "F16", delta: "F16", out: "F16", target: "F32" },
		});
		expect(mergeSumsOf(plan)).toEqual(["F16 + F16 → F16", "copy"]);
	});

	test("rotary frequencies that the merge would drop are left out, and told of", () => {
		const rotary = "layers.0.self_attn.rotary_emb.inv_freq";
		const { plan, warnings } = make(
			...([
				base,
				layout("t", { x: ["F16", 3], [rotary]: ["F32", 4] }),
			] as const),
			"bayling",
		);
		expect(plan.totals.tensors).toBe(1);
		expect(warnings.join()).toContain("t: 1 tensor of rotary frequencies");
		expect(warnings.join()).toContain("b: 2 tensors only the base has");
	});

	test("fastchat makes F16, casting first what is not, and says what will not be as it was", () => {
		const wide = layout("t", { x: ["F32", 3], y: ["BF16", 2, 2], z: ["F16"] });
		const { plan, warnings } = make(base, wide, "fastchat-v1.1");
		expect(sumsOf(plan)).toEqual([
			"BF16 − F16 as F16 → F16",
			"F16 − F16 → F16",
			"F32 − F16 as F16 → F16",
		]);
		expect(warnings).toEqual([
			"t: 1 tensor is F32 in the target and will be F16 once merged",
			"t: 1 tensor is BF16 in the target and will be F16 once merged",
		]);
	});

	test("tells of config and tokenizer that are not there", () => {
		const bare = { ...target, sideFiles: [] };
		expect(make(base, bare).warnings).toEqual([
			"t: no config file, so the delta has none",
			"t: no tokenizer file, so the delta has none",
		]);
	});
});

describe("what does not fit is refused", () => {
	const more = layout("m", {
		x: ["F16", 3],
		y: ["F16", 2, 2],
		z: ["F16"],
		w: ["F16"],
	});
	// A script that must grow the embeddings asks for that first; BiLLa's sums none of these.
	const SUMMING = CONVENTION_IDS.filter((id) => id !== "billa");
	const orNothingGrown = (id: ConventionId, said: string) =>
		new RegExp(CONVENTIONS[id].mustGrow ? `${said}|always adds a token` : said);
	test.each([
		...SUMMING.filter((id) => CONVENTIONS[id].deltaOnly !== "verbatim").map(
			(id) => ({
				...{ id, what: "a tensor only the target has", pair: [base, more] },
				said: orNothingGrown(id, "not in the base"),
			}),
		),
		...SUMMING.filter((id) => CONVENTIONS[id].loop === "base").map((id) => ({
			...{ id, what: "a tensor only the base has", pair: [more, base] },
			said: /not in the delta/,
		})),
		...SUMMING.flatMap((id) => [
			{
				...{ id, what: "another shape" },
				pair: [
					base,
					layout("t", { x: ["F16", 4], y: ["F16", 2, 2], z: ["F16"] }),
				],
				said: /shape/,
			},
			{
				...{ id, what: "types that have no difference" },
				pair: [layout("b", { i: ["I64"] }), layout("t", { i: ["I64"] })],
				said: orNothingGrown(id, "cannot be added"),
			},
			{
				...{ id, what: "no tensor at all" },
				pair: [layout("b", {}), layout("t", {})],
				said: orNothingGrown(id, "no tensor"),
			},
		]),
	])("$id: $what", ({ id, pair, said }) => {
		const [one, other] = pair as [CheckpointLayout, CheckpointLayout];
		expect(() => make(one, other, id)).toThrow(MismatchError);
		expect(() => make(one, other, id)).toThrow(said);
	});
});
