import { checkConvention, checkDtype } from "./check-choices.ts";
import type { Checkpoint } from "./checkpoint/checkpoint.ts";
import { openModel } from "./checkpoint/open-checkpoint.ts";
import { CONVENTION_IDS, type ConventionId } from "./delta/conventions.ts";
import { planMake } from "./delta/plan-make.ts";
import type { Restoration } from "./engine/manifest.ts";
import {
	type PublishOptions,
	type PublishReport,
	publishPlan,
} from "./engine/publish.ts";
import type { OpenInputs } from "./engine/write-output.ts";
import { againIfSpoilt, WantedFiles } from "./fetch-inputs.ts";
import {
	checkBeforeFetching,
	type FetchChoices,
	type Located,
	locateInputs,
} from "./locate.ts";
import { originsOf } from "./plan.ts";
import { contentsOf } from "./recognise.ts";
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

export interface MakeOptions extends MakeInputs, FetchChoices, PublishOptions {}

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
	checkConvention(options.convention, CONVENTION_IDS);
	checkDtype(options.dtype);
	const named = [options.base, options.target];
	await checkBeforeFetching(named, options);
	return againIfSpoilt(options, async () => {
		const [base, target] = await locateInputs(named, options);
		return makeOf({ base, target } as Sides, options);
	});
}

type Sides = Record<"base" | "target", Located>;

async function makeOf(sides: Sides, options: MakeOptions): Promise<MakeReport> {
	const { convention, dtype = null } = options;
	const closing: { close(): Promise<void> }[] = Object.values(sides);
	try {
		const base = await openModel(sides.base.model);
		closing.push(base);
		const target = await openModel(sides.target.model);
		closing.push(target);
		const { plan, warnings } = planMake(base, target, convention, {
			...{ dtype, changes: {}, sum: "any" },
		});
		const said = [
			...base.warnings,
			...target.warnings,
			...(await sameInputWarnings(base, target)),
			...warnings,
		];
		const sources = [base, target].map(({ shards }) =>
			shards.map(({ source }) => source),
		);
		const wanted = new WantedFiles(Object.values(sides), plan, sources);
		const opened: OpenInputs = {
			...{ sources, ...originsOf(sides) },
			openSideFile: (from, fileName) =>
				(from === "base" ? base : target).openSideFile(fileName),
			diskNeeds: await wanted.diskNeeds(),
			bring: (signal) => wanted.fetch(options.onFetch, signal),
		};
		const report = await publishPlan(plan, opened, said, options);
		const { restoration } = report.manifest;
		if (!restoration) throw new RangeError("the plan checked nothing");
		return { ...report, restoration, elements: plan.totals.elements };
	} finally {
		for (const open of closing.reverse()) await open.close();
	}
}

async function sameInputWarnings(base: Checkpoint, target: Checkpoint) {
	const [contents, others] = [await contentsOf(base), await contentsOf(target)];
	return contents.join() === others.join()
		? [
				`${target.location}: base and target are the same, so the delta is all zeros`,
			]
		: [];
}
