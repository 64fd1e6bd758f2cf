import { describe, expect, test } from "vitest";
import { eachInSlot } from "../../src/engine/each-in-slot.ts";
import { inTurn } from "../../src/engine/in-turn.ts";
import { Slots } from "../../src/engine/slots.ts";

/** Work whose end is decided by the test. */
function gates() {
	const open = new Map<number, { resolve(): void; reject(e: Error): void }>();
	const begun: number[] = [];
	const work = (item: number) =>
		new Promise<number>((resolve, reject) => {
			begun.push(item);
			open.set(item, { resolve: () => resolve(item * 10), reject });
		});
	/** Let promises go on as far as they can. */
	const settle = async () => {
		for (let i = 0; i < 20; i++) await null;
	};
	return { open, begun, work, settle };
}

describe("inTurn", () => {
	test("does a few at once, and tells in the order of the items", async () => {
		const { open, begun, work, settle } = gates();
		const told: number[] = [];
		const done = inTurn([1, 2, 3], 2, work, (result) => told.push(result));
		await settle();
		expect(begun).toEqual([1, 2]);
		open.get(2)?.resolve();
		await settle();
		expect([begun, told]).toEqual([[1, 2, 3], []]);
		open.get(1)?.resolve();
		await settle();
		expect(told).toEqual([10, 20]);
		open.get(3)?.resolve();
		expect(await done).toEqual([10, 20, 30]);
		expect(told).toEqual([10, 20, 30]);
	});

	test("begins nothing after a failure, and ends when all has stopped", async () => {
		const { open, begun, work, settle } = gates();
		let ended = false;
		const done = inTurn([1, 2, 3], 2, work).finally(() => {
			ended = true;
		});
		const failed = expect(done).rejects.toThrow("no");
		await settle();
		open.get(1)?.reject(new Error("no"));
		await settle();
		expect(ended).toBe(false);
		open.get(2)?.resolve();
		await failed;
		expect(begun).toEqual([1, 2]);
	});
});

describe("eachInSlot", () => {
	test("gives each a slot of its own, as many at once as there are", async () => {
		const { open, begun, work, settle } = gates();
		const slots = new Slots(2, 1);
		const places = new Map<number, number>();
		const done = eachInSlot(slots, [1, 2, 3], async (item, slot) => {
			places.set(item, slot.byteOffset);
			await work(item);
		});
		await settle();
		expect(begun).toEqual([1, 2]);
		expect(places.get(1)).not.toBe(places.get(2));
		open.get(2)?.resolve();
		await settle();
		expect(begun).toEqual([1, 2, 3]);
		expect(places.get(3)).toBe(places.get(2));
		for (const item of [1, 3]) open.get(item)?.resolve();
		await done;
	});

	test("ends at the first failure, when all has stopped, with no slot lost", async () => {
		const { open, begun, work, settle } = gates();
		const slots = new Slots(2, 1);
		let ended = false;
		const done = eachInSlot(slots, [1, 2, 3, 4], async (item) => {
			await work(item);
		}).finally(() => {
			ended = true;
		});
		const failed = expect(done).rejects.toThrow("first");
		await settle();
		open.get(2)?.reject(new Error("first"));
		await settle();
		expect(ended).toBe(false);
		open.get(1)?.reject(new Error("second"));
		await failed;
		expect(begun).toEqual([1, 2]);
		const taken = await Promise.all([slots.take(), slots.take()]);
		expect(new Set(taken).size).toBe(2);
	});
});
