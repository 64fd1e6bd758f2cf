import { lstat, readdir, realpath, stat, statfs } from "node:fs/promises";
import path from "node:path";
import { LocalIoError, OutputConflictError, UsageError } from "../errors.ts";
import { LOCAL_FILES } from "../io/file-system.ts";
import { lookAtOutput, outputExists, stagingPath } from "../io/output-place.ts";
import { systemErrorCode, toLocalIoError } from "../io/system-error.ts";

/** Bytes that will be written below a folder, which need not be there yet. */
export interface DiskNeed {
	/** for messages: `the output` */
	what: string;
	folder: string;
	byteLength: number;
}

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
		const output = { what: "the output", folder: parent, byteLength: needed };
		await checkSpace([output, ...others]);
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

/** What lies on one file system is needed there together. */
async function checkSpace(needs: readonly DiskNeed[]): Promise<void> {
	const disks = new Map<number, { freeBytes: number; needs: DiskNeed[] }>();
	for (const need of needs) {
		const { device, freeBytes } = await lookAtDisk(need.folder);
		const disk = disks.get(device) ?? { freeBytes, needs: [] };
		if (need.byteLength > 0) disk.needs.push(need);
		disks.set(device, disk);
	}
	for (const { freeBytes, needs } of disks.values()) {
		const needed = needs.reduce((sum, { byteLength }) => sum + byteLength, 0);
		if (needed <= freeBytes) continue;
		throw new LocalIoError({
			where: needs.map(({ folder }) => folder).join(" and "),
			what: `not enough space for ${needs.map(({ what }) => what).join(" and ")}`,
			expected: `${needed} free bytes`,
			found: `${freeBytes}`,
			remedy: `Free ${needed - freeBytes} bytes or choose another disk`,
		});
	}
}

/** The file system that a folder lies on, or will: that of the nearest folder that is there. */
export async function lookAtDisk(
	folder: string,
): Promise<{ device: number; freeBytes: number }> {
	for (let at = path.resolve(folder); ; at = path.dirname(at))
		try {
			const { dev: device } = await stat(at);
			const { bavail, bsize } = await statfs(at);
			return { device, freeBytes: bavail * bsize };
		} catch (error) {
			const isAbsent = systemErrorCode(error) === "ENOENT";
			if (!isAbsent || at === path.dirname(at))
				throw toLocalIoError(error, at, "looking at the free space of");
		}
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
