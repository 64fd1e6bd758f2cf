import { realpath } from "node:fs/promises";
import type { Checkpoint } from "./checkpoint/checkpoint.ts";
import { withCheckpoints } from "./checkpoint/open-checkpoint.ts";
import { planAuto } from "./delta/choose-convention.ts";
import { CONVENTION_IDS, type ConventionId } from "./delta/convention.ts";
import { type MergePlan, planId } from "./delta/plan.ts";
import { planMerge } from "./delta/plan-merge.ts";
import { UsageError } from "./errors.ts";
import { FLOAT_DTYPES, type FloatDtype } from "./tensor/dtype.ts";

/** What to merge, and how. */
export interface PlanInputs {
	/** a folder with safetensors weights, or one weight file */
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
	return withCheckpoints([inputs.base, inputs.delta], async (base, delta) => {
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
		return use(report, { base, delta });
	});
}

function checkOptions({ convention = "auto", dtype }: PlanInputs): void {
	checkConvention(convention, ["auto", ...CONVENTION_IDS]);
	checkDtype(dtype);
}

/** @throws {UsageError} unless the name is one of the choices */
export function checkConvention(
	convention: string,
	choices: readonly string[],
): void {
	if (!choices.includes(convention))
		throw new UsageError({
			where: "--convention",
			what: `unknown convention ${JSON.stringify(convention)}`,
			expected: choices.join(", "),
		});
}

/** @throws {UsageError} unless it is a type that can be written, or none */
export function checkDtype(dtype: FloatDtype | undefined): void {
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
