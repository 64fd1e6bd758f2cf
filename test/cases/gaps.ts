/** From one number to another, both counted. */
function range(first: number, last: number): number[] {
	return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** Cases whose tests are still to be written. A number goes from here when the first test names it. */
export const NOT_YET: readonly number[] = [
	...range(143, 150),
	...[152, 154, 155, 156, 157, 160, 161, 162, 163, 164, 166, 167, 168],
	...range(172, 203),
	...[213, 215, 216, 217, 218, 219],
];

/** Cases that no test here can show, and why. */
export const NOT_HERE: ReadonlyMap<number, string> = new Map([
	[140, "shards are those of an input, so no tensor is larger than its shard"],
]);
