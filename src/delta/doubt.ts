import { type Fault, MismatchError } from "../errors.ts";

/** A reason to think that an input is not what it was given as. */
export interface Doubt extends Fault {
	/** true: the merge would be worthless, so it is refused; false: a person should know */
	refuses: boolean;
	remedy: string;
}

/**
 * Act on doubts: throw for the first that refuses, return the others as warnings.
 *
 * @param allowUnlikely  all doubts become warnings
 * @throws {MismatchError}
 */
export function settleDoubts(
	doubts: readonly Doubt[],
	{ allowUnlikely }: { allowUnlikely: boolean },
): string[] {
	const worst = allowUnlikely ? undefined : doubts.find((d) => d.refuses);
	if (worst !== undefined) {
		const { refuses: _, ...fault } = worst;
		throw new MismatchError({
			...fault,
			remedy: `${fault.remedy}; --allow-unlikely merges all the same`,
		});
	}
	return doubts.map(describe);
}

function describe({ where, what, found, remedy }: Doubt): string {
	return `${where}: ${what}${found === undefined ? "" : `, found ${found}`}. ${remedy}`;
}
