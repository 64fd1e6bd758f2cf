import type { Argv } from "yargs";
import {
	CONVENTIONS,
	type ConventionId,
	FLOAT_DTYPES,
	type FloatDtype,
	type MakeOptions,
	type MakeReport,
	make,
	printable,
} from "../index.ts";
import { plural } from "./format.ts";
import { atRevision, type HubFlags, hubChoices } from "./hub-flags.ts";
import { hubOptions, REVISION } from "./options.ts";
import { tellPerformance } from "./performance.ts";
import { showMaking } from "./show-making.ts";
import type { Terminal } from "./terminal.ts";

/** So many tensors are named that do not come back as they were. */
const LISTED = 10;

/** What to make, as flags. */
export function makeOptions<T>(y: Argv<T>) {
	return hubOptions(y)
		.option("base", {
			type: "string",
			demandOption: true,
			requiresArg: true,
			describe: "the base model",
		})
		.option("target", {
			type: "string",
			demandOption: true,
			requiresArg: true,
			describe: "the model that base and delta shall give",
		})
		.option("base-revision", REVISION)
		.option("target-revision", REVISION)
		.option("convention", {
			choices: Object.keys(CONVENTIONS) as ConventionId[],
			demandOption: true,
			describe: "the one the delta will be merged with",
		})
		.option("dtype", {
			choices: FLOAT_DTYPES as readonly FloatDtype[],
			coerce: (dtype: string | undefined) =>
				dtype?.toUpperCase() as FloatDtype | undefined,
			describe: "if the merge will be given --dtype: the same",
		});
}

export async function makeCommand(
	options: MakeOptions &
		HubFlags & {
			baseRevision?: string | undefined;
			targetRevision?: string | undefined;
		},
	terminal: Terminal,
	signal: AbortSignal,
): Promise<number> {
	const { baseRevision, targetRevision } = options;
	const base = await atRevision(
		...([options.base, baseRevision, "--base-revision"] as const),
	);
	const target = await atRevision(
		...([options.target, targetRevision, "--target-revision"] as const),
	);
	const { out, convention, dtype, allowNonFinite } = options;
	const { kernel, threads, memory, directIo, inputSums } = options;
	const { overwrite, resume, keepStaging, syncBytes } = options;
	const report = await showMaking("made", terminal, (hooks) =>
		make({
			...{ base, target, out, convention, dtype, allowNonFinite },
			...{ kernel, threads, memory, directIo, inputSums },
			...{ overwrite, resume, keepStaging, syncBytes },
			...hubChoices(options, terminal),
			...hooks,
			signal,
		}),
	);
	const { manifest, warnings, performance: used, restoration } = report;
	const { resumed } = report;
	terminal.result(describeRestoration(report));
	for (const line of listUnrestored(report)) terminal.note(line);
	terminal.note(
		`convention ${manifest.convention}: ${manifest.sums.join(", ")}; to be merged as ${restoration.sums.join(", ")}`,
	);
	if (terminal.options.verbose) tellPerformance(used, terminal);
	const { elements } = report;
	terminal.document({
		...{ ok: true, out, manifest, restoration, elements, resumed, warnings },
		performance: used,
	});
	return 0;
}

function describeRestoration({ restoration, elements }: MakeReport): string {
	const { elements: lost, maxUlp, tensors } = restoration;
	return lost === 0
		? `a merge gives back every one of ${plural(elements, "parameter")} exactly`
		: `a merge does not give back ${lost.toLocaleString("en")} of ${plural(elements, "parameter")} exactly, in ${plural(tensors.length, "tensor")}: up to ${maxUlp.toLocaleString("en")} ulp from the target`;
}

function listUnrestored({ restoration: { tensors } }: MakeReport): string[] {
	const most = [...tensors].sort((a, b) => b.elements - a.elements);
	const lines = most
		.slice(0, LISTED)
		.map(
			({ tensor, elements, maxUlp }) =>
				`  ${printable(tensor)}: ${elements.toLocaleString("en")}, up to ${maxUlp.toLocaleString("en")} ulp`,
		);
	const more = most.length - LISTED;
	return more > 0 ? [...lines, `  … and ${more} more`] : lines;
}
