import { describe, expect, test } from "vitest";
import type { CheckpointLayout } from "../../src/checkpoint/checkpoint.ts";
import { planAuto } from "../../src/delta/choose-convention.ts";
import type { ConventionId } from "../../src/delta/conventions.ts";
import { planId, type Segment } from "../../src/delta/plan.ts";
import { planMerge } from "../../src/delta/plan-merge.ts";
import { MismatchError } from "../../src/errors.ts";
import type { Dtype } from "../../src/tensor/dtype.ts";
import { tensorByteLength } from "../../src/tensor/tensor.ts";

type Tensors = Record<string, [dtype: Dtype, ...shape: number[]]>;

/** A checkpoint that exists on paper only: one list of tensors for each shard. */
function layout(location: string, ...shards: Tensors[]): CheckpointLayout {
	const tensors = new Map();
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
	return { location, shards: files, tensors, sideFiles: [], addedTokens: [] };
}

const plan = (
	base: CheckpointLayout,
	delta: CheckpointLayout,
	id: ConventionId = "add",
) => planMerge(base, delta, id, { dtype: null, changes: {}, sum: null });

/** The refusal of a plan. */
function refusal(make: () => unknown): MismatchError {
	try {
		make();
	} catch (error) {
		if (error instanceof MismatchError) return error;
		throw error;
	}
	throw new Error("nothing was refused");
}

const specOf = (segment: Segment | undefined) =>
	segment?.op === "add" ? segment.spec : undefined;

const many = (count: number): Tensors =>
	Object.fromEntries(
		Array.from({ length: count }, (_, i) => [`t${i}`, ["F16", 2]]),
	);

describe("a plan", () => {
	const base = layout(
		"b",
		{ x: ["F16", 3], y: ["BF16", 2, 2] },
		{ z: ["F16"] },
	);
	const delta = layout("d", { z: ["F16"], y: ["BF16", 2, 2], x: ["F16", 3] });

	test("tiles every output file with segments, header included", () => {
		for (const shard of plan(base, delta).plan.shards) {
			let at = 8 + Buffer.byteLength(shard.header ?? "");
			for (const segment of shard.segments) {
				expect(segment.fileOffset).toBe(at);
				at += segment.byteLength;
			}
			expect(at).toBe(shard.byteLength);
		}
	});

	test("mirrors the base's shards under transformers' names", () => {
		const { shards, index } = plan(base, delta).plan;
		expect(
			shards.map((s) => [s.fileName, s.segments.map((g) => g.tensor)]),
		).toEqual([
			["model-00001-of-00002.safetensors", ["y", "x"]],
			["model-00002-of-00002.safetensors", ["z"]],
		]);
		expect(JSON.parse(index ?? "").metadata).toEqual({
			total_parameters: 8,
			total_size: 16,
		});
	});

	test("survives JSON, and its id is that of its work", () => {
		const { plan: made } = plan(base, delta);
		expect(JSON.parse(JSON.stringify(made))).toEqual(made);
		expect(planId(plan(base, delta).plan)).toBe(planId(made));
		const moved = { ...delta, location: "elsewhere" };
		expect(planId(plan(base, moved).plan)).toBe(planId(made));
		const wider = planMerge(base, delta, "add", {
			dtype: "F32",
			changes: {},
			sum: null,
		});
		expect(planId(wider.plan)).not.toBe(planId(made));
	});

	test("fastchat casts what is not F16, and only that", () => {
		const [shard] = plan(base, delta, "fastchat-v1.1").plan.shards;
		expect(
			shard?.segments.map((s) => [s.tensor, specOf(s)?.cast, specOf(s)?.out]),
		).toEqual([
			["x", null, "F16"],
			["y", "F16", "F16"],
		]);
	});
});

describe("what does not fit is listed", () => {
	test("tensors the delta lacks: twenty and a count", () => {
		const error = refusal(() =>
			plan(layout("b", many(25)), layout("d", many(1))),
		);
		expect(error.message).toContain(
			"24 tensors of the base b are not in the delta",
		);
		expect(error.fault.details).toHaveLength(21);
		expect(error.fault.details?.at(-1)).toBe("… and 4 more");
	});

	test("tensors only the delta has: an error for add, dropped by fastchat", () => {
		const [base, delta] = [layout("b", many(1)), layout("d", many(3))];
		expect(refusal(() => plan(base, delta)).fault.details).toEqual([
			"t1",
			"t2",
		]);
		const planned = plan(base, delta, "fastchat-v1.1");
		expect(planned.plan.totals.tensors).toBe(1);
		expect(planned.warnings.join()).toContain("2 tensors only the delta has");
	});

	test("shapes, with a word on grown vocabularies", () => {
		const error = refusal(() =>
			plan(
				layout("b", { e: ["F16", 32000, 8] }),
				layout("d", { e: ["F16", 32001, 8] }),
			),
		);
		expect(error.fault.details).toEqual([
			"e: base [32000, 8], delta [32001, 8]",
		]);
		expect(error.message).toContain("vocabulary");
	});

	test("dtypes, unless one is asked for", () => {
		const [base, delta] = [
			layout("b", { t: ["F16", 2] }),
			layout("d", { t: ["F32", 2] }),
		];
		expect(refusal(() => plan(base, delta)).message).toContain("--dtype");
		const { plan: made } = planMerge(base, delta, "add", {
			dtype: "BF16",
			changes: {},
			sum: null,
		});
		expect(specOf(made.shards[0]?.segments[0])).toEqual({
			base: "F16",
			delta: "F32",
			cast: null,
			out: "BF16",
			subtract: false,
		});
	});

	test("types that have no sum", () => {
		const ids = layout("b", { ids: ["I64", 2] });
		expect(refusal(() => plan(ids, ids)).message).toContain(
			"1 tensor cannot be added",
		);
	});

	test("case 57: names that differ in normalisation only are told apart, with a hint", () => {
		const error = refusal(() =>
			plan(
				layout("b", { "\u00e9": ["F16"] }),
				layout("d", { "e\u0301": ["F16"] }),
			),
		);
		expect(error.message).toContain("Unicode normalisation");
	});

	test("a LoRA adapter is recognised", () => {
		const error = refusal(() =>
			plan(
				layout("b", { q: ["F16"] }),
				layout("d", { "q.lora_A.weight": ["F16"] }),
			),
		);
		expect(error.message).toContain("LoRA");
	});

	test("an empty model", () => {
		expect(
			refusal(() => plan(layout("b", {}), layout("d", {}))).message,
		).toContain("no tensor");
	});
});

test("a delta of another type than those of the convention is warned about", () => {
	const model = layout("b", { t: ["F16", 2] });
	const warnings = (id: ConventionId) => plan(model, model, id).warnings.join();
	expect(warnings("knowlm")).toContain("published as F32, and this one is F16");
	expect(warnings("fastchat-v1.1")).not.toContain("published as");
});

describe("tensors that share their bytes", () => {
	const tie = (model: CheckpointLayout, name: string, to: string) => {
		const tensor = model.tensors.get(name);
		if (!tensor) throw new Error(`no ${name}`);
		const tensors = new Map(model.tensors);
		return { ...model, tensors: tensors.set(name, { ...tensor, tiedTo: to }) };
	};
	const names = (model: CheckpointLayout, other: CheckpointLayout) =>
		plan(model, other).plan.shards.flatMap(({ segments }) =>
			segments.map(({ tensor }) => tensor),
		);
	const [input, output] = ["model.embed_tokens.weight", "lm_head.weight"];
	const both: Tensors = { [output]: ["F16", 2], [input]: ["F16", 2] };
	const free = layout("m", both);
	const tied = tie(free, input, output);

	test("on both sides are written once, the output layer left out", () => {
		expect(names(tied, tied)).toEqual([input]);
	});

	test("on one side become two", () => {
		expect(names(tied, free).sort()).toEqual([output, input].sort());
		expect(names(free, tied)).toHaveLength(2);
	});

	test("of other names keep the first of them", () => {
		const model = layout("m", { b: ["F16", 2], a: ["F16", 2], c: ["F16", 2] });
		expect(names(tie(model, "a", "b"), tie(model, "a", "b"))).toEqual([
			"a",
			"c",
		]);
	});
});

describe("auto", () => {
	const auto = (base: CheckpointLayout, delta: CheckpointLayout) =>
		planAuto(base, delta, { dtype: null, changes: {}, sum: null });

	test("takes the first convention where all give the same bytes", () => {
		const model = layout("b", many(2));
		expect(auto(model, model).plan.convention).toBe("fastchat-v1.1");
	});

	test("refuses to choose where the bytes differ, and says how", () => {
		const base = layout("b", {
			"model.embed_tokens.weight": ["F16", 4, 2],
			t: ["F16", 2],
		});
		const delta = layout("d", {
			"model.embed_tokens.weight": ["F32", 5, 2],
			t: ["F32", 2],
		});
		const error = refusal(() => auto(base, delta));
		expect(error.message).toContain("alpaca and gisting both apply");
		expect(error.message).toContain("--convention gisting");
		expect(error.fault.details?.at(-1)).toBe(
			"alpaca and gisting differ in model.embed_tokens.weight",
		);
	});

	test("takes what a name shows that only one kind of delta has", () => {
		const base = layout("b", { "model.embed_tokens.weight": ["F16", 4, 2] });
		const delta = layout("d", {
			"model.embed_tokens.weight": ["F16", 5, 2],
			"model.mm_projector.bias": ["F16", 2],
		});
		expect(auto(base, delta).plan.convention).toBe("llava");
	});

	test("takes a plain sum only where no published convention fits", () => {
		const vicuna: Tensors = {
			w: ["F16", 9, 9],
			"model.layers.0.self_attn.rotary_emb.inv_freq": ["F32", 4],
		};
		const model = layout("v", vicuna);
		expect(auto(model, model).plan.convention).toBe("fastchat-v1.1");
		const doubles = layout("d", { w: ["F64", 9, 9] });
		expect(auto(doubles, doubles).plan.convention).toBe("add");
	});

	test("considers only conventions whose deltas are of the delta's type", () => {
		const base = layout("b", { t: ["F16", 2] });
		const delta = layout("d", { t: ["BF16", 2] });
		const { plan: made } = auto(base, delta);
		expect(made.convention).toBe("yulan");
		expect(specOf(made.shards[0]?.segments[0])?.out).toBe("BF16");
	});

	test("takes the only one that fits", () => {
		expect(
			auto(layout("b", many(1)), layout("d", many(2))).plan.convention,
		).toBe("fastchat-v1.1");
	});
});
