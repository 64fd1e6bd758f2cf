import { expect, test } from "vitest";
import { formatDuration } from "../../src/cli/format.ts";

test("a duration is told in the unit that fits it", () => {
	for (const [seconds, text] of [
		[0, "under a second"],
		[0.99, "under a second"],
		[1, "1 s"],
		[99.4, "99 s"],
		[99.5, "2 min"],
		[1620, "27 min"],
		[5969, "99 min"],
		[5970, "1.7 h"],
		[90_000, "25.0 h"],
	] as const)
		expect(formatDuration(seconds)).toBe(text);
});
