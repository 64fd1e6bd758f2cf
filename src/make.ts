import { withCheckpoints } from "./checkpoint/open-checkpoint.ts";
import { CONVENTION_IDS, type ConventionId } from "./delta/conventions.ts";
import type { InputSide } from "./delta/plan.ts";
import { planMake } from "./delta/plan-make.ts";
import type { Restoration } from "./engine/manifest.ts";
import {
	type PublishOptions,
	type PublishReport,
	publishPlan,
} from "./engine/publish.ts";
import type { OpenInputs } from "./engine/write-output.ts";
import { followLinks } from "./io/local-path.ts";
import {
	checkBeforeFetching,
	type FetchChoices,
	type Located,
	locateInputs,
	withOrigin,
} from "./locate.ts";
import { checkConvention, checkDtype } from "./plan.ts";
import type { FloatDtype } from "./tensor/dtype.ts";

/** What to make a delta of, and how it will be merged. */
export interface MakeInputs extends FetchChoices {
	/** a folder with weights, one weight file, or a repository of the Hub, `org/name[@revision]` */
	base: string;
	/** the same: the model that base and delta shall give */
	target: string;
	/** the one the delta will be merged with */
	convention: ConventionId;
	/** type of every merged tensor, where the merge will be asked for one; default: what the convention says */
	dtype?: FloatDtype | undefined;
}

export interface MakeOptions extends MakeInputs, PublishOptions {}

export interface MakeReport extends PublishReport {
	/** what a merge of the base and this delta does not give back as it was in the target */
	restoration: Restoration;
	/** of all tensors */
	elements: number;
}

/**
 * Make the delta that takes a base to a target: a new folder, which appears only when all of it is written
 * and durable. While it is made, each slice is merged again and compared with the target.
 *
 * @throws {UsageError} where an argument makes no sense
 * @throws {MismatchError} where the two do not fit together under the convention
 * @throws {MergeDeltaError} of another kind that says how to react; nothing is published then
 */
export async function make(options: MakeOptions): Promise<MakeReport> {
	const { convention, dtype = null } = options;
	checkConvention(convention, CONVENTION_IDS);
	checkDtype(options.dtype);
	const named = [options.base, options.target];
	await checkBeforeFetching(named, options);
	const [base, target] = (await locateInputs(named, options)) as [
		Located,
		Located,
	];
	const located = { base, target };
	const locations = [base.path, target.path] as const;
	const wanted = { dtype, changes: {}, sum: "any" } as const;
	return withCheckpoints(locations, async (base, target) => {
		const { plan, warnings } = planMake(base, target, convention, wanted);
		const said = [
			...base.warnings,
			...target.warnings,
			...(await sameInputWarnings(...locations)),
			...warnings,
		];
		const sources = [base, target].map(({ shards }) =>
			shards.map(({ source }) => source),
		);
		const openSideFile = (from: InputSide, fileName: string) =>
			(from === "base" ? base : target).openSideFile(fileName);
		const opened: OpenInputs = {
			...{ locations, sources, openSideFile },
			withOrigin: (file) =>
				file.from === "delta" ? file : withOrigin(file, located[file.from]),
		};
		const report = await publishPlan(plan, opened, said, options);
		const { restoration } = report.manifest;
		if (!restoration) throw new RangeError("the plan checked nothing");
		return { ...report, restoration, elements: plan.totals.elements };
	});
}

async function sameInputWarnings(base: string, target: string) {
	return (await followLinks(base)) === (await followLinks(target))
		? [`${target}: base and target are the same, so the delta is all zeros`]
		: [];
}
