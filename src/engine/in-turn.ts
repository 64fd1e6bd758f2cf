/**
 * Do work on all items, a few at once, and tell of each in the order of the items.
 *
 * @param tell  called with each result as soon as those before it are told
 * @returns the results in the order of the items
 */
export async function inTurn<T, R>(
	items: readonly T[],
	atOnce: number,
	work: (item: T) => Promise<R>,
	tell: (result: R) => void = () => {},
): Promise<R[]> {
	const results: R[] = [];
	const remaining = items.entries();
	let told = 0;
	let failed = false;
	const next = async () => {
		for (const [i, item] of remaining) {
			if (failed) return;
			results[i] = await work(item).catch((error) => {
				failed = true;
				throw error;
			});
			for (; told in results; told++) tell(results[told] as R);
		}
	};
	const turns = Array.from({ length: Math.max(atOnce, 1) }, next);
	await Promise.allSettled(turns);
	await Promise.all(turns);
	return results;
}
