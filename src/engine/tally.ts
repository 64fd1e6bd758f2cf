import type { AddCounts } from "../kernel/kernel.ts";
import type { Unrestored } from "../kernel/restoration.ts";

/** What the results of some slices were, by tensor; a tensor may be named more than once. */
export interface Counts {
	/** tensors with results that are not finite */
	nonFinite: { tensor: string; counts: AddCounts }[];
	/** tensors with elements that the merge would not give back */
	unrestored: { tensor: string; counts: Unrestored }[];
	/** where they were asked for: elements, added up */
	sums: { tensor: string; sum: number }[];
}

/** Counts of many slices, added up. */
export class Tally {
	readonly nonFinite = new Map<string, AddCounts>();
	readonly unrestored = new Map<string, Unrestored>();
	readonly sums = new Map<string, number>();

	add({ nonFinite, unrestored, sums }: Counts): void {
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

	/** Each tensor once. */
	get counts(): Counts {
		return {
			nonFinite: list(this.nonFinite, (counts) => ({ counts })),
			unrestored: list(this.unrestored, (counts) => ({ counts })),
			sums: list(this.sums, (sum) => ({ sum })),
		};
	}
}

function list<T, U>(
	byTensor: ReadonlyMap<string, T>,
	name: (value: T) => U,
): ({ tensor: string } & U)[] {
	return Array.from(byTensor, ([tensor, value]) => ({
		...{ tensor, ...name(value) },
	}));
}
