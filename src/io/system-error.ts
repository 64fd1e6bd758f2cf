import { constants } from "node:os";
import { LocalIoError, MergeDeltaError } from "../errors.ts";

const REMEDIES: Record<string, string> = {
	ENOSPC: "The disk is full: free space, then run the same command again",
	EDQUOT: "Your quota is used up: free space, then run the same command again",
	EFBIG: "The file system or a limit (ulimit -f) forbids files of this size",
	EACCES: "Check the permissions",
	EPERM: "Check the permissions",
	EROFS: "The file system is read-only: choose another output folder",
	EXDEV: "The output's folder spans file systems: choose another one",
	EMFILE: "Too many open files: raise the limit (ulimit -n)",
	EIO: "The device failed: check it before you try again",
};

/** Turn an error of the operating system into ours; leave ours, and what is no system error, as it is. */
export function toLocalIoError(
	error: unknown,
	where: string,
	what: string,
): unknown {
	if (error instanceof MergeDeltaError) return error;
	const code = systemErrorCode(error);
	if (code === null) return error;
	return new LocalIoError({
		where,
		what: `${what} failed (${code})`,
		...(REMEDIES[code] === undefined ? {} : { remedy: REMEDIES[code] }),
		cause: error,
	});
}

/** For `catch`: throws as {@link toLocalIoError} tells. */
export function failing(
	where: string,
	what: string,
): (error: unknown) => never {
	return (error) => {
		throw toLocalIoError(error, where, what);
	};
}

/** `ENOENT` and the like, or null where the error does not come from the operating system. */
export function systemErrorCode(error: unknown): string | null {
	if (!(error instanceof Error)) return null;
	const { code, errno } = error as NodeJS.ErrnoException;
	if (code === undefined) return null;
	if (/^E[A-Z0-9]+$/.test(code)) return code;
	// Some are unknown to Node, such as those of a quota or of a network file system.
	return errno !== undefined && code.startsWith("Unknown system error")
		? nameOf(Math.abs(errno))
		: null;
}

function nameOf(errno: number): string {
	const known = Object.entries(constants.errno);
	return known.find(([, number]) => number === errno)?.[0] ?? `E${errno}`;
}
