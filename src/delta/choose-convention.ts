import type { CheckpointLayout } from "../checkpoint/checkpoint.ts";
import { MismatchError } from "../errors.ts";
import {
	CONVENTION_IDS,
	CONVENTIONS,
	type ConventionId,
} from "./convention.ts";
import { type MergePlan, sumsOf } from "./plan.ts";
import { type Planned, type PlanOptions, planMerge } from "./plan-merge.ts";

/**
 * Plan with every convention and keep the one answer, if there is only one: the conventions that apply
 * must all write the same bytes.
 *
 * @throws {MismatchError} where two would differ, naming them and the difference; or, where none applies,
 *                         what the first of them said
 */
export function planAuto(
	base: CheckpointLayout,
	delta: CheckpointLayout,
	options: PlanOptions,
): Planned {
	const candidates: Planned[] = [];
	const refusals: unknown[] = [];
	for (const id of CONVENTION_IDS)
		try {
			candidates.push(planMerge(base, delta, id, options));
		} catch (error) {
			if (!(error instanceof MismatchError)) throw error;
			refusals.push(error);
		}
	const [first, ...others] = candidates;
	// The last convention is the least particular: what it says fits most cases.
	if (first === undefined) throw refusals.at(-1);
	const other = others.find(({ plan }) => work(plan) !== work(first.plan));
	if (other !== undefined)
		throw ambiguous(delta.location, [first.plan, other.plan]);
	return first;
}

/** All that decides the output's bytes. */
function work({ shards, index, sideFiles }: MergePlan): string {
	return JSON.stringify({ shards, index, sideFiles });
}

function ambiguous(
	where: string,
	plans: readonly [MergePlan, MergePlan],
): MismatchError {
	const ids = plans.map(({ convention }) => convention);
	return new MismatchError({
		where,
		what: `${ids.join(" and ")} both apply and give different models`,
		remedy: `Say which one the delta was made with: ${ids.map((id) => `--convention ${id}`).join(" or ")}`,
		details: plans.map((plan) =>
			describe(plan.convention as ConventionId, plan),
		),
	});
}

function describe(id: ConventionId, plan: MergePlan): string {
	return `${id}: ${sumsOf(plan).join(", ")}, ${plan.totals.byteLength} bytes (${CONVENTIONS[id].summary})`;
}
