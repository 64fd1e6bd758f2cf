import { lstat, readdir, realpath, stat } from "node:fs/promises";
import path from "node:path";
import { OutputConflictError, UsageError } from "../errors.ts";
import { checkSpace, type DiskNeed } from "../io/disk-space.ts";
import { LOCAL_FILES } from "../io/file-system.ts";
import { lookAtOutput, outputExists, stagingPath } from "../io/output-place.ts";
import { systemErrorCode, toLocalIoError } from "../io/system-error.ts";

/**
 * Check, before anything is written, that an output folder can be made.
 *
 * @param out         does not exist yet, or is empty, unless it may be replaced
 * @param inputs      folders and files it must not be, nor be in
 * @param byteLength  of all that will be written to it
 * @param overwrite   whether a folder may be there, to be replaced
 * @param others      what else will be written before it is done
 * @throws {UsageError} for a place that makes no sense
 * @throws {OutputConflictError} where something is there already
 * @throws {LocalIoError} where there is not enough space
 */
export async function preflight(
	out: string,
	inputs: readonly string[],
	{
		byteLength,
		overwrite,
		others = [],
	}: {
		byteLength: number;
		overwrite: boolean;
		others?: readonly DiskNeed[];
	},
): Promise<void> {
	try {
		const parent = path.dirname(path.resolve(out));
		await checkParent(parent, out);
		await checkLinks(parent);
		await checkOutside(out, inputs, overwrite);
		await checkNoLink(out);
		const staged = await stagedBytes(stagingPath(out));
		// With something staged it may be the output of that, which was not told yet.
		if (!overwrite && staged === null)
			if ((await lookAtOutput(LOCAL_FILES, out)) === "full")
				throw outputExists(out);
		const needed = Math.ceil((byteLength - (staged ?? 0)) * 1.01);
		const output = { what: "the output", folder: parent, flag: "--out" };
		await checkSpace([{ ...output, byteLength: needed }, ...others]);
	} catch (error) {
		throw toLocalIoError(error, out, "looking at its place");
	}
}

async function checkParent(parent: string, out: string): Promise<void> {
	const stats = await stat(parent).catch((error) => {
		if (systemErrorCode(error) === "ENOENT") return null;
		throw toLocalIoError(error, parent, "looking at the output's folder");
	});
	if (stats === null || !stats.isDirectory())
		throw new UsageError({
			where: out,
			what: `its parent ${parent} is no folder`,
			remedy: "Make it first",
		});
}

/** A link of another user on the way to the output could be turned elsewhere while we write. */
async function checkLinks(folder: string): Promise<void> {
	const user = process.getuid?.();
	if (user === undefined) return;
	const { root } = path.parse(folder);
	for (let at = folder; at !== root; at = path.dirname(at)) {
		const stats = await lstat(at);
		if (stats.isSymbolicLink() && stats.uid !== user && stats.uid !== 0)
			throw new UsageError({
				where: at,
				what: "a symbolic link of another user leads to the output",
				remedy: "Name the folder itself",
			});
	}
}

async function checkOutside(
	out: string,
	inputs: readonly string[],
	overwrite: boolean,
): Promise<void> {
	const parent = await realpath(path.dirname(path.resolve(out)));
	const real = await realpath(out).catch(() =>
		path.join(parent, path.basename(out)),
	);
	for (const location of inputs) {
		const input = await realpath(location).catch(() => path.resolve(location)); // of a cache, not there yet
		if (real === input || real.startsWith(input + path.sep))
			throw new UsageError({
				where: out,
				what: `the output would lie in the input ${location}`,
				remedy: "Name a folder outside the inputs",
			});
		if (overwrite && input.startsWith(real + path.sep))
			throw new UsageError({
				where: out,
				what: `--overwrite would delete the input ${location}`,
				remedy: "Name a folder with no input in it",
			});
	}
}

/** What a link points to would be taken for the output, and a rename cannot replace a link by a folder. */
async function checkNoLink(out: string): Promise<void> {
	const stats = await lstat(out).catch(() => null); // absent, as it should be
	if (stats?.isSymbolicLink())
		throw new OutputConflictError({
			where: out,
			what: "the output is a symbolic link",
			remedy: "Name the folder itself, or remove the link",
		});
}

/** What an unfinished merge takes of the disk already, or null where there is none. */
async function stagedBytes(root: string): Promise<number | null> {
	const names = await readdir(root, { recursive: true }).catch(() => null);
	if (names === null) return null;
	let byteLength = 0;
	for (const name of names) {
		const stats = await stat(path.join(root, name)).catch(() => null);
		if (stats?.isFile()) byteLength += stats.blocks * 512;
	}
	return byteLength;
}
