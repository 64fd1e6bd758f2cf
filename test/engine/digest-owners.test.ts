import { expect, test } from "vitest";
import { DigestOwners } from "../../src/engine/digest-owners.ts";

test("all of a file goes to one thread, and each has as many files as the others", () => {
	const owners = new DigestOwners(["a", "b"]);
	owners.take("a", 0);
	expect(owners.mayHash("a", 0)).toBe(true);
	expect(owners.mayHash("b", 0)).toBe(false);
	expect(owners.mayHash("a", 1)).toBe(false);
	expect(owners.mayHash("b", 1)).toBe(true);
	owners.take("b", 1);
	expect(owners.mayHash("a", 2)).toBe(true);
	expect(owners.mayHash("b", 2)).toBe(true);
	owners.release(1);
	expect(owners.mayHash("a", 2)).toBe(false);
	expect(owners.mayHash("b", 2)).toBe(true);
});
