import type { ConventionChanges } from "../delta/convention.ts";
import {
	type InputSide,
	type MergePlan,
	mergeSumsOf,
	planId,
	sumsOf,
} from "../delta/plan.ts";
import type { WrittenFile } from "../io/output-file.ts";
import type { AddCounts } from "../kernel/kernel.ts";
import type { Unrestored } from "../kernel/restoration.ts";
import { VERSION } from "../version.ts";

export const MANIFEST_FILE_NAME = "merge-delta.json";
/** Of what a manifest says and how; a reader that knows another refuses it. */
export const MANIFEST_VERSION = 1;

/** A file that was read, named relative to the checkpoint it belongs to. */
export interface ReadFile extends Omit<WrittenFile, "sha256"> {
	from: InputSide;
	/** null where it was not to be taken */
	sha256: string | null;
	/** on the Hub, `org/name`, where it came from there */
	repository?: string;
	/** of that repository */
	commit?: string;
}

/** What the merge of a delta will not give back as it was. */
export interface Restoration extends Unrestored {
	/** the sums of that merge by their types */
	sums: readonly string[];
	/** those that do not come back exactly, sorted by name */
	tensors: readonly ({ tensor: string } & Unrestored)[];
}

/** How a model or a delta came to be: nothing of time, host or path, so that the same merge gives the same text. */
export interface Manifest {
	schemaVersion: typeof MANIFEST_VERSION;
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
	/** of a delta only */
	restoration?: Restoration;
}

export function createManifest(
	plan: MergePlan,
	inputs: readonly ReadFile[],
	outputs: readonly WrittenFile[],
	nonFinite: ReadonlyMap<string, AddCounts>,
	unrestored: ReadonlyMap<string, Unrestored>,
): Manifest {
	const mergeSums = mergeSumsOf(plan);
	return {
		schemaVersion: MANIFEST_VERSION,
		tool: { name: "merge-delta", version: VERSION },
		convention: plan.convention,
		changes: plan.changes,
		planId: planId(plan),
		sums: sumsOf(plan),
		inputs,
		outputs: [...outputs], // the manifest itself is not among them
		nonFinite: byName(nonFinite).map(([tensor, counts]) => ({
			tensor,
			count: counts.nonFinite,
			created: counts.overflowed,
		})),
		...(mergeSums === null
			? {}
			: { restoration: { sums: mergeSums, ...addUp(unrestored) } }),
	};
}

/** Not in the order in which slices happened to be done. */
function byName<T>(counts: ReadonlyMap<string, T>): [string, T][] {
	return [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
}

function addUp(
	unrestored: ReadonlyMap<string, Unrestored>,
): Omit<Restoration, "sums"> {
	const tensors = byName(unrestored).map(([tensor, counts]) => ({
		...{ tensor, ...counts },
	}));
	let [elements, maxUlp] = [0, 0];
	for (const counts of tensors) {
		elements += counts.elements;
		maxUlp = Math.max(maxUlp, counts.maxUlp);
	}
	return { elements, maxUlp, tensors };
}
