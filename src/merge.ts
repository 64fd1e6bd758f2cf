import type { Manifest } from "./engine/manifest.ts";
import {
	type PublishOptions,
	type PublishReport,
	publishPlan,
} from "./engine/publish.ts";
import { UsageError } from "./errors.ts";
import { checkOutputs, readSoundExpectation } from "./expectation.ts";
import { type ExpectedInputs, InputChecker } from "./expected-inputs.ts";
import { againIfSpoilt } from "./fetch-inputs.ts";
import { checkBeforeFetching } from "./locate.ts";
import { type PlanInputs, withPlan } from "./plan.ts";

export interface MergeOptions
	extends PlanInputs,
		ExpectedInputs,
		Omit<PublishOptions, "checkManifest"> {
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
	const checker = await InputChecker.open(options);
	if (checker.isNeeded && options.inputSums === false)
		throw new UsageError({
			where: "--no-input-sums",
			what: "no sums are taken that could be compared with the expected ones",
			remedy: "Leave it out",
		});
	const expected =
		expect === undefined ? null : await readSoundExpectation(expect);
	await checkBeforeFetching([base, delta], options);
	return againIfSpoilt(options, () =>
		withPlan(options, ({ plan, warnings }, opened) => {
			checker.checkComplete(plan.inputs);
			const checkManifest = ({ inputs, outputs }: Manifest) => {
				checker.check(inputs, plan.inputs);
				if (expected !== null) checkOutputs(outputs, expected, out);
			};
			return publishPlan(plan, opened, warnings, { ...options, checkManifest });
		}),
	);
}
