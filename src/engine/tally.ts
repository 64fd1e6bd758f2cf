import type { AddCounts } from "../kernel/kernel.ts";
import type { Unrestored } from "../kernel/restoration.ts";
import type { StepResult } from "./step.ts";

/** What the results of a run were, by tensor, added up over its slices. */
export class Tally {
	/** tensors with results that are not finite */
	readonly nonFinite = new Map<string, AddCounts>();
	/** tensors with elements that the merge would not give back */
	readonly unrestored = new Map<string, Unrestored>();
	/** sums of all elements, where they were asked for */
	readonly sums = new Map<string, number>();

	add({ nonFinite, unrestored, sums }: StepResult): void {
		for (const { tensor, counts } of nonFinite) {
			const known = this.nonFinite.get(tensor);
			this.nonFinite.set(tensor, {
				nonFinite: (known?.nonFinite ?? 0) + counts.nonFinite,
				overflowed: (known?.overflowed ?? 0) + counts.overflowed,
			});
		}
		for (const { tensor, counts } of unrestored) {
			const known = this.unrestored.get(tensor);
			this.unrestored.set(tensor, {
				elements: (known?.elements ?? 0) + counts.elements,
				maxUlp: Math.max(known?.maxUlp ?? 0, counts.maxUlp),
			});
		}
		for (const { tensor, sum } of sums)
			this.sums.set(tensor, (this.sums.get(tensor) ?? 0) + sum);
	}
}
