import { type MergePlan, planId, sumsOf } from "../delta/plan.ts";
import { OutputConflictError } from "../errors.ts";
import type { FileSource } from "../io/file-source.ts";
import { VERSION } from "../version.ts";
import type { ReadFile } from "./manifest.ts";

/** Raised whenever an older or newer program could not go on with what this one has left. */
const STAGING_VERSION = 1;

/** What must be the same for a run to go on where another has stopped: the text of `plan.json`. */
interface StagedPlan {
	version: number;
	tool: string;
	planId: string;
	convention: string;
	changes: object;
	sums: readonly string[];
	/** by side and name: what tells each from any other, and from itself after a change */
	inputs: Record<string, string>;
}

/**
 * Tell a plan and what it reads.
 *
 * @param withOrigin  says where a file came from
 */
export function encodeStagedPlan(
	plan: MergePlan,
	sources: readonly (readonly FileSource[])[],
	withOrigin: (file: ReadFile) => ReadFile,
): string {
	const { convention, changes } = plan;
	const inputs: [string, string][] = [];
	for (const [i, { side, shards }] of plan.inputs.entries())
		for (const [j, file] of shards.entries()) {
			const origin = withOrigin({ ...file, from: side, sha256: null });
			const source = sources[i]?.[j] as FileSource;
			const identity = origin.commit
				? `${origin.repository}@${origin.commit}`
				: source.identity;
			inputs.push([`${side} ${file.fileName}`, identity]);
		}
	const staged: StagedPlan = {
		...{ version: STAGING_VERSION, tool: VERSION, planId: planId(plan) },
		...{ convention, changes, sums: sumsOf(plan) },
		inputs: Object.fromEntries(inputs),
	};
	return `${JSON.stringify(staged, null, 2)}\n`;
}

/**
 * @param found     text of the `plan.json` that is there
 * @param expected  text of ours
 * @throws {OutputConflictError} where they differ, with all that does
 */
export function refuseOtherPlan(
	root: string,
	found: string,
	expected: string,
): void {
	if (found === expected) return;
	throw new OutputConflictError({
		where: root,
		what: "an unfinished merge of another plan, or of inputs that have changed since, is there",
		remedy:
			"Run that one again to finish it, or give --no-resume, which deletes what is there",
		details: differences(parse(found), parse(expected)),
	});
}

/** @param text  as a program has written it: the claims hang on it */
function parse(text: string): Record<string, unknown> {
	const { inputs, ...rest } = JSON.parse(text);
	return { ...rest, ...inputs };
}

const LISTED = 20;

function differences(
	found: Record<string, unknown>,
	expected: Record<string, unknown>,
): string[] {
	const keys = new Set([...Object.keys(found), ...Object.keys(expected)]);
	const text = (value: unknown) => JSON.stringify(value) ?? "nothing";
	return [...keys]
		.filter((key) => text(found[key]) !== text(expected[key]))
		.map(
			(key) => `${key}: there ${text(found[key])}, now ${text(expected[key])}`,
		)
		.slice(0, LISTED);
}
