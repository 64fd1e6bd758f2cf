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
	/**
	 * the same of files that lay in the cache of the Hub before: a commit says what they should hold, and not whether
	 * they did when they were read
	 */
	asFound: Record<string, string>;
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
	const asFound: [string, string][] = [];
	for (const [i, { side, shards }] of plan.inputs.entries())
		for (const [j, file] of shards.entries()) {
			const origin = withOrigin({ ...file, from: side, sha256: null });
			const source = sources[i]?.[j] as FileSource;
			const { identity, ready } = source;
			const key = `${side} ${file.fileName}`;
			const { repository, commit } = origin;
			inputs.push([key, commit ? `${repository}@${commit}` : identity]);
			if (commit && ready === undefined) asFound.push([key, identity]);
		}
	const staged: StagedPlan = {
		...{ version: STAGING_VERSION, tool: VERSION, planId: planId(plan) },
		...{ convention, changes, sums: sumsOf(plan) },
		inputs: Object.fromEntries(inputs),
		asFound: Object.fromEntries(asFound),
	};
	return `${JSON.stringify(staged, null, 2)}\n`;
}

/**
 * Refuse to go on with what another plan has left. What has come into the cache since is no other.
 *
 * @param found     text of the `plan.json` that is there, as a program has written it
 * @param expected  text of ours
 * @throws {OutputConflictError} where they differ, with all that does
 */
export function refuseOtherPlan(
	root: string,
	found: string,
	expected: string,
): void {
	const [there, ours] = [parse(found), parse(expected)];
	const details = [
		...differences(there.plan, ours.plan, [there.plan, ours.plan]),
		...differences(there.asFound, ours.asFound, [there.asFound]),
	];
	if (details.length === 0) return;
	throw new OutputConflictError({
		where: root,
		what: "an unfinished merge of another plan, or of inputs that have changed since, is there",
		remedy:
			"Run that one again to finish it, or give --no-resume, which deletes what is there",
		details: details.slice(0, LISTED),
	});
}

type Fields = Record<string, unknown>;

function parse(text: string): { plan: Fields; asFound: Fields } {
	const { inputs, asFound = {}, ...rest } = JSON.parse(text);
	return { plan: { ...rest, ...inputs }, asFound };
}

const LISTED = 20;

/** @param keyed  whose keys count */
function differences(
	found: Fields,
	expected: Fields,
	keyed: readonly Fields[],
): string[] {
	const keys = new Set(keyed.flatMap((fields) => Object.keys(fields)));
	const text = (value: unknown) => JSON.stringify(value) ?? "nothing";
	return [...keys]
		.filter((key) => text(found[key]) !== text(expected[key]))
		.map(
			(key) => `${key}: there ${text(found[key])}, now ${text(expected[key])}`,
		);
}
