import { realpath } from "node:fs/promises";
import type { Checkpoint } from "./checkpoint/checkpoint.ts";
import { openCheckpoint } from "./checkpoint/open-checkpoint.ts";
import { planAuto } from "./delta/choose-convention.ts";
import { CONVENTION_IDS, type ConventionId } from "./delta/convention.ts";
import { type MergePlan, planId } from "./delta/plan.ts";
import { planMerge } from "./delta/plan-merge.ts";
import { UsageError } from "./errors.ts";
import { FLOAT_DTYPES, type FloatDtype } from "./tensor/dtype.ts";

/** What to merge, and how. */
export interface PlanInputs {
	/** a folder with weights, or one weight file */
	base: string;
	/** the same */
	delta: string;
	/** default `auto`: the only one that fits, or an error that names those that do */
	convention?: ConventionId | "auto" | undefined;
	/** type of every output tensor; default: what the convention says */
	dtype?: FloatDtype | undefined;
}

export interface PlanReport {
	plan: MergePlan;
	planId: string;
	warnings: string[];
}

/**
 * Say what a merge would read, compute and write. Reads headers only, writes nothing.
 *
 * @throws {UsageError} where an argument makes no sense
 * @throws {FormatError} where an input is malformed
 * @throws {MismatchError} where the inputs do not fit together
 */
export async function plan(inputs: PlanInputs): Promise<PlanReport> {
	return withPlan(inputs, async (report) => report);
}

/** Open both checkpoints, plan, and let `use` work with them while they are open. */
export async function withPlan<T>(
	inputs: PlanInputs,
	use: (
		report: PlanReport,
		checkpoints: { base: Checkpoint; delta: Checkpoint },
	) => Promise<T>,
): Promise<T> {
	checkOptions(inputs);
	const opened: Checkpoint[] = [];
	try {
		const base = await openCheckpoint(inputs.base);
		opened.push(base);
		const delta = await openCheckpoint(inputs.delta);
		opened.push(delta);
		const { convention = "auto", dtype = null } = inputs;
		const planned =
			convention === "auto"
				? planAuto(base, delta, { dtype })
				: planMerge(base, delta, convention, { dtype });
		const warnings = [
			...base.warnings,
			...delta.warnings,
			...(await sameInputWarnings(inputs)),
			...planned.warnings,
		];
		const report = {
			plan: planned.plan,
			planId: planId(planned.plan),
			warnings,
		};
		return await use(report, { base, delta });
	} finally {
		for (const checkpoint of opened) await checkpoint.close();
	}
}

function checkOptions({ convention, dtype }: PlanInputs): void {
	const choices = ["auto", ...CONVENTION_IDS];
	if (convention !== undefined && !choices.includes(convention))
		throw new UsageError({
			where: "--convention",
			what: `unknown convention ${JSON.stringify(convention)}`,
			expected: choices.join(", "),
		});
	if (dtype !== undefined && !FLOAT_DTYPES.includes(dtype))
		throw new UsageError({
			where: "--dtype",
			what: `cannot write ${JSON.stringify(dtype)}`,
			expected: FLOAT_DTYPES.join(", "),
		});
}

async function sameInputWarnings(inputs: PlanInputs): Promise<string[]> {
	return (await realpath(inputs.base)) === (await realpath(inputs.delta))
		? [`${inputs.delta}: base and delta are the same, which doubles the model`]
		: [];
}
