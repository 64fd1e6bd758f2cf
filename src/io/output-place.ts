import path from "node:path";
import { OutputConflictError } from "../errors.ts";
import type { FileSystem } from "./file-system.ts";
import { listIfThere } from "./folders.ts";
import { systemErrorCode } from "./system-error.ts";

/** The folder beside an output in which it grows. */
export function stagingPath(out: string): string {
	return `${path.resolve(out)}.merge-delta`;
}

/**
 * What stands where an output is to appear.
 *
 * @throws {OutputConflictError} where it is no folder
 */
export async function lookAtOutput(
	files: FileSystem,
	out: string,
): Promise<"nothing" | "empty" | "full"> {
	const entries = await listIfThere(files, path.resolve(out)).catch((error) => {
		if (systemErrorCode(error.cause) === "ENOTDIR") throw outputExists(out);
		throw error;
	});
	if (entries === null) return "nothing";
	return entries.length === 0 ? "empty" : "full";
}

export function outputExists(out: string): OutputConflictError {
	return new OutputConflictError({
		where: out,
		what: "the output exists already",
		remedy:
			"Name another folder, move this one away, or replace it with --overwrite",
	});
}
