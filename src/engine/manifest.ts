import type { ConventionChanges, Side } from "../delta/convention.ts";
import { type MergePlan, planId, sumsOf } from "../delta/plan.ts";
import type { WrittenFile } from "../io/output-file.ts";
import type { AddCounts } from "../kernel/kernel.ts";
import { VERSION } from "../version.ts";

export const MANIFEST_FILE_NAME = "merge-delta.json";

/** A file that was read, named relative to the checkpoint it belongs to. */
export interface ReadFile extends Omit<WrittenFile, "sha256"> {
	from: Side;
	/** null where it was not to be taken */
	sha256: string | null;
}

/** How a merged model came to be: nothing of time, host or path, so that the same merge gives the same text. */
export interface Manifest {
	schemaVersion: 1;
	tool: { name: "merge-delta"; version: string };
	convention: string;
	/** what was different from that convention */
	changes: ConventionChanges;
	planId: string;
	inputs: readonly ReadFile[];
	outputs: readonly WrittenFile[];
	/** sums by their types: base + delta, the type both were cast to or null, the type of the result */
	sums: readonly string[];
	/** results that are NaN or infinite; `created` are those whose operands were both finite */
	nonFinite: readonly { tensor: string; count: number; created: number }[];
}

export function createManifest(
	plan: MergePlan,
	inputs: readonly ReadFile[],
	outputs: readonly WrittenFile[],
	nonFinite: ReadonlyMap<string, AddCounts>,
): Manifest {
	return {
		schemaVersion: 1,
		tool: { name: "merge-delta", version: VERSION },
		convention: plan.convention,
		changes: plan.changes,
		planId: planId(plan),
		sums: sumsOf(plan),
		inputs,
		outputs: [...outputs], // the manifest itself is not among them
		nonFinite: Array.from(nonFinite, ([tensor, counts]) => ({
			tensor,
			count: counts.nonFinite,
			created: counts.overflowed,
		})),
	};
}
