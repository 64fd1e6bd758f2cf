import type { CheckpointLayout } from "../checkpoint/checkpoint.ts";
import { MismatchError } from "../errors.ts";
import type { Dtype } from "../tensor/dtype.ts";
import { hasMoreRows } from "../tensor/tensor.ts";
import type { Convention, Evidence } from "./convention.ts";
import {
	CONVENTION_IDS,
	CONVENTIONS,
	type ConventionId,
} from "./conventions.ts";
import { mainDtype } from "./main-dtype.ts";
import { listed } from "./mismatch.ts";
import { INPUT, type MergePlan, spansOf, sumsOf } from "./plan.ts";
import { type Planned, type PlanOptions, planMerge } from "./plan-merge.ts";

/**
 * Plan with every convention whose deltas look like this one, and keep the one answer, if there is only
 * one: all that apply must write the same bytes.
 *
 * @throws {MismatchError} where two would differ, naming all and what differs; or, where none applies,
 *                         what the least particular of them said
 */
export function planAuto(
	base: CheckpointLayout,
	delta: CheckpointLayout,
	options: PlanOptions,
): Planned {
	const candidates: Planned[] = [];
	for (const id of likely(lookAt(base, delta)))
		try {
			candidates.push(planMerge(base, delta, id, options));
		} catch (error) {
			if (!(error instanceof MismatchError)) throw error;
		}
	const [first, ...others] = candidates;
	// What nobody published in this form is a plain sum, or else its refusal says best what is wrong.
	if (first === undefined) return planMerge(base, delta, "add", options);
	const different = others.filter(
		({ plan }) => work(plan) !== work(first.plan),
	);
	if (different.length > 0)
		throw ambiguous(delta.location, [first, ...different]);
	return first;
}

interface Seen {
	/** type of most of the delta's bytes */
	dtype: Dtype | null;
	/** rows of its embeddings beyond the base's */
	newRows: number;
	names: readonly string[];
}

/** Those whose deltas look like this one; where a name is found that only one kind has, that kind alone. */
function likely(seen: Seen): ConventionId[] {
	const ids = CONVENTION_IDS.filter((id) => {
		const { expects }: Convention = CONVENTIONS[id];
		return expects !== null && agrees(expects, seen);
	});
	const named = ids.filter((id) => CONVENTIONS[id].expects?.name);
	return named.length > 0 ? named : ids;
}

function lookAt(base: CheckpointLayout, delta: CheckpointLayout): Seen {
	const shapeOf = ({ tensors }: CheckpointLayout) =>
		[...tensors].find(([name]) => name.endsWith("embed_tokens.weight"))?.[1]
			.shape ?? [];
	const [ours, theirs] = [shapeOf(base), shapeOf(delta)];
	return {
		dtype: mainDtype(delta),
		newRows: hasMoreRows(theirs, ours) ? (theirs[0] ?? 0) - (ours[0] ?? 0) : 0,
		names: [...delta.tensors.keys()],
	};
}

const GROWN: Record<
	NonNullable<Evidence["grown"]>,
	(newRows: number) => boolean
> = {
	none: (newRows) => newRows === 0,
	one: (newRows) => newRows === 1,
	some: (newRows) => newRows > 0,
	several: (newRows) => newRows > 1,
};

function agrees({ dtype, grown, name }: Evidence, seen: Seen): boolean {
	return (
		dtype === seen.dtype &&
		(grown === null || GROWN[grown](seen.newRows)) &&
		(name === null || seen.names.some((each) => each.includes(name)))
	);
}

/** All that decides the output's bytes. */
function work({ fills, shards, index, sideFiles }: MergePlan): string {
	return JSON.stringify({ fills, shards, index, sideFiles });
}

function ambiguous(
	where: string,
	candidates: readonly Planned[],
): MismatchError {
	const plans = candidates.map(({ plan }) => plan);
	const ids = plans.map(({ convention }) => convention);
	const [first, ...others] = plans as [MergePlan, ...MergePlan[]];
	return new MismatchError({
		where,
		what: `${ids.slice(0, -1).join(", ")} and ${ids.at(-1)} ${ids.length === 2 ? "both" : "all"} apply and give different models`,
		remedy: `Say which one the delta was made with: ${ids.map((id) => `--convention ${id}`).join(" or ")}`,
		details: [
			...plans.map((plan) => describe(plan)),
			...others.map((other) => compare(first, other)),
		],
	});
}

function describe(plan: MergePlan): string {
	const id = plan.convention as ConventionId;
	return `${id}: ${sumsOf(plan).join(", ")}, ${plan.totals.byteLength} bytes (${CONVENTIONS[id].summary})`;
}

/** Where two plans differ: a wrong guess may change one row of two tensors, and nothing that shows. */
function compare(a: MergePlan, b: MergePlan): string {
	const [ours, theirs] = [makingOf(a), makingOf(b)];
	const names = [...new Set([...ours.keys(), ...theirs.keys()])].filter(
		(name) => ours.get(name) !== theirs.get(name),
	);
	const what =
		names.length === 0
			? "only the config or tokenizer files"
			: names.length === ours.size
				? "every tensor"
				: listed(names).join(", ");
	return `${a.convention} and ${b.convention} differ in ${what}`;
}

/** How each tensor is made, wherever in its file. */
function makingOf({ shards, fills }: MergePlan): Map<string, string> {
	const making = new Map<string, string>();
	for (const segment of shards.flatMap(({ segments }) => segments)) {
		const { tensor, fileOffset: _, ...how } = segment;
		const operands = spansOf(segment).map((span) =>
			span.input === INPUT.fill ? fills[span.shard] : span,
		);
		const text = JSON.stringify({ ...how, operands });
		making.set(tensor, (making.get(tensor) ?? "") + text);
	}
	return making;
}
