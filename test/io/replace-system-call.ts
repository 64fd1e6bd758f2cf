import files from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { onTestFinished } from "vitest";

/**
 * Let a function of `node:fs/promises` be another until the test ends, for all who import it.
 *
 * @param make  the other, given the one before
 */
export function replaceSystemCall<Name extends "stat" | "statfs" | "symlink">(
	name: Name,
	make: (before: (typeof files)[Name]) => (typeof files)[Name],
): void {
	const before = files[name];
	const put = (call: (typeof files)[Name]) => {
		files[name] = call;
		syncBuiltinESMExports();
	};
	put(make(before));
	onTestFinished(() => put(before));
}
