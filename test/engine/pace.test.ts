import { expect, test } from "vitest";
import { Pace } from "../../src/engine/pace.ts";

const LIMITS = { first: 2 ** 22, least: 2 ** 18, most: 2 ** 23 };

/** Run a pace on a machine that moves slices of each length at some rate, bytes per second. */
function settle(
	rate: (sliceBytes: number, bytesDone: number) => number,
	limits = LIMITS,
) {
	let now = 0;
	let done = 0;
	const pace = new Pace(limits, () => now);
	const seen: number[] = [];
	for (let i = 0; i < 20_000; i++) {
		now += pace.sliceBytes / rate(pace.sliceBytes, done);
		done += pace.sliceBytes;
		pace.done(pace.sliceBytes);
		seen.push(pace.sliceBytes);
	}
	const share = (sliceBytes: number) =>
		seen.filter((each) => each === sliceBytes).length / seen.length;
	return { last: seen.at(-1), seen, share };
}

test("a disk that wants much in flight gets long slices", () => {
	const { share } = settle((sliceBytes) => sliceBytes * 200);
	expect(share(LIMITS.most)).toBeGreaterThan(0.7);
});

test("a machine that is faster with short slices gets short ones", () => {
	const { share } = settle((sliceBytes) => 2 ** 51 / sliceBytes);
	expect(share(LIMITS.least)).toBeGreaterThan(0.7);
});

test("a hump is found from either side", () => {
	for (const best of [2 ** 19, 2 ** 20, 2 ** 21, 2 ** 22, 2 ** 23]) {
		const { share } = settle(
			(sliceBytes) => 1e9 / (1 + Math.abs(Math.log2(sliceBytes / best))),
		);
		expect(share(best)).toBeGreaterThan(0.7);
	}
});

test("where nothing makes a difference it stays near where it began", () => {
	const { seen } = settle(() => 1e9);
	expect(new Set(seen)).toEqual(new Set([2 ** 21, 2 ** 22, 2 ** 23]));
});

test("it looks again when the machine has changed", () => {
	const { last } = settle((sliceBytes, done) =>
		done < 1e10 ? sliceBytes * 200 : 2 ** 51 / sliceBytes,
	);
	expect(last).toBeLessThan(2 ** 20);
});

test("slices are whole pages, however often they are halved", () => {
	const most = 853 * 4096;
	const limits = { first: 2 ** 22, least: 2 ** 20, most };
	const { seen } = settle((sliceBytes) => 2 ** 51 / sliceBytes, limits);
	expect(new Set(seen)).toEqual(new Set([most, 426 * 4096, 2 ** 20]));
});
