import { decideEngineOptions } from "./engine/engine-options.ts";
import { preflight } from "./engine/preflight.ts";
import {
	type PublishOptions,
	type PublishReport,
	publishPlan,
} from "./engine/publish.ts";
import { UsageError } from "./errors.ts";
import { type ExpectedInputs, InputChecker } from "./expected-inputs.ts";
import { anyRemote } from "./locate.ts";
import { type PlanInputs, withPlan } from "./plan.ts";

export interface MergeOptions
	extends PlanInputs,
		ExpectedInputs,
		PublishOptions {}

export interface MergeReport extends PublishReport {}

/**
 * Merge a base and a delta into a new folder, which appears only when all of it is written and durable.
 *
 * @throws {MergeDeltaError} of the kind that says how to react; nothing is published then
 */
export async function merge(options: MergeOptions): Promise<MergeReport> {
	const { base, delta, out } = options;
	const checker = await InputChecker.open(options);
	if (checker.isNeeded && options.inputSums === false)
		throw new UsageError({
			where: "--no-input-sums",
			what: "no sums are taken that could be compared with the expected ones",
			remedy: "Leave it out",
		});
	// Before gigabytes are fetched; an output that is wrong for these inputs is found below.
	if (await anyRemote([base, delta])) {
		decideEngineOptions(options);
		await preflight(out, [], 0);
	}
	return withPlan(options, ({ plan, warnings }, opened) => {
		checker.checkComplete(plan.inputs);
		const withOrigin: typeof opened.withOrigin = (file) => {
			const input = plan.inputs.find(({ side }) => side === file.from);
			checker.check(file, input ?? { shards: [] });
			return opened.withOrigin(file);
		};
		return publishPlan(plan, { ...opened, withOrigin }, warnings, options);
	});
}
