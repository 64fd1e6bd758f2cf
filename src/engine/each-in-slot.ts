import type { Slot, Slots } from "./slots.ts";

/**
 * Do work on each item in a slot of its own, as many at once as there are slots; begun in the order of the
 * items. The first failure ends it, and is thrown once all that had begun has stopped.
 */
export async function eachInSlot<T>(
	slots: Slots,
	items: Iterable<T>,
	work: (item: T, slot: Slot) => Promise<void>,
): Promise<void> {
	const running = new Set<Promise<void>>();
	const failures: unknown[] = [];
	for (const item of items) {
		const slot = await slots.take();
		if (failures.length > 0) {
			slots.give(slot);
			break;
		}
		const done = work(item, slot)
			.catch((error) => {
				failures.push(error);
			})
			.finally(() => {
				slots.give(slot);
				running.delete(done);
			});
		running.add(done);
	}
	await Promise.all(running);
	if (failures.length > 0) throw failures[0];
}
