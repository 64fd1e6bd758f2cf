/** Cases that no test here can show, and why. */
export const NOT_HERE: ReadonlyMap<number, string> = new Map([
	[140, "shards are those of an input, so no tensor is larger than its shard"],
]);
