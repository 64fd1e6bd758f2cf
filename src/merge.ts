import {
	type PublishOptions,
	type PublishReport,
	publishPlan,
} from "./engine/publish.ts";
import { checkOutputs, readSoundExpectation } from "./expectation.ts";
import { againIfSpoilt } from "./fetch-inputs.ts";
import { checkBeforeFetching } from "./locate.ts";
import { type PlanInputs, withPlan } from "./plan.ts";

export interface MergeOptions
	extends PlanInputs,
		Omit<PublishOptions, "checkOutputs"> {
	/** a file of checksums, or the manifest of another merge, that all outputs must match but the manifest */
	expect?: string | undefined;
}

export interface MergeReport extends PublishReport {}

/**
 * Merge a base and a delta into a new folder, which appears only when all of it is written and durable.
 *
 * @throws {MergeDeltaError} of the kind that says how to react; nothing is published then
 */
export async function merge(options: MergeOptions): Promise<MergeReport> {
	const { base, delta, out, expect } = options;
	const expected =
		expect === undefined ? null : await readSoundExpectation(expect);
	await checkBeforeFetching([base, delta], options);
	return againIfSpoilt(options, () =>
		withPlan(options, ({ plan, warnings }, opened) =>
			publishPlan(plan, opened, warnings, {
				...options,
				checkOutputs: (outputs) =>
					expected && checkOutputs(outputs, expected, out),
			}),
		),
	);
}
