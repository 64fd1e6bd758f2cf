import { describe, expect, test } from "vitest";
import type {
	CheckpointLayout,
	CheckpointTensor,
} from "../../src/checkpoint/checkpoint.ts";
import {
	CONVENTION_IDS,
	type ConventionId,
} from "../../src/delta/convention.ts";
import { planId, sumsOf } from "../../src/delta/plan.ts";
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
	return { location, shards: files, tensors, sideFiles };
}

const make = (
	base: CheckpointLayout,
	target: CheckpointLayout,
	id: ConventionId = "add",
) => planMake(base, target, id, { dtype: null });

const base = layout("b", { x: ["F16", 3], y: ["F16", 2, 2] }, { z: ["F16"] });
const target = layout("t", { z: ["F16"] }, { x: ["F16", 3], y: ["F16", 2, 2] });

describe("the plan of a delta", () => {
	test("tiles every file with segments, header included, as the header says", () => {
		for (const { header, segments, byteLength, fileName } of make(base, target)
			.plan.shards) {
			let at = headerBytes(header).length;
			const { tensors } = parseHeader(
				headerBytes(header),
				byteLength,
				fileName,
			);
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
			{ fileName: "config.json", from: "target" },
			{ fileName: "tokenizer.json", from: "target" },
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
			planId(planMerge(base, target, "add", { dtype: null }).plan),
		);
	});

	test.each(CONVENTION_IDS)("checks the very sums that %s will make", (id) => {
		const mixed = layout("t", { x: ["F32", 3], y: ["BF16", 2, 2], z: ["F16"] });
		// The base is of the types that must be cast.
		const { plan } = make(mixed, mixed, id);
		const tensors: Tensors = {};
		for (const { header, byteLength, fileName } of plan.shards)
			for (const { name, dtype, shape } of parseHeader(
				...([headerBytes(header), byteLength, fileName] as const),
			).tensors)
				tensors[name] = [dtype, ...shape];
		const merge = planMerge(mixed, layout("d", tensors), id, { dtype: null });
		const sums = new Map(
			merge.plan.shards.flatMap(({ segments }) =>
				segments.map(({ tensor, spec }) => [tensor, spec]),
			),
		);
		for (const { tensor, spec, check } of plan.shards.flatMap(
			(s) => s.segments,
		))
			expect(check).toEqual({ ...sums.get(tensor), target: spec.delta });
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
	test.each(
		CONVENTION_IDS.flatMap((id) => [
			{
				id,
				what: "a tensor only the target has",
				pair: [base, more],
				said: /w|not in the base/,
			},
			{
				id,
				what: "a tensor only the base has",
				pair: [more, base],
				said: /not in the delta/,
			},
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
				said: /cannot be added/,
			},
			{
				id,
				what: "no tensor at all",
				pair: [layout("b", {}), layout("t", {})],
				said: /no tensor/,
			},
		]),
	)("$id: $what", ({ id, pair, said }) => {
		const [one, other] = pair as [CheckpointLayout, CheckpointLayout];
		expect(() => make(one, other, id)).toThrow(MismatchError);
		expect(() => make(one, other, id)).toThrow(said);
	});
});
