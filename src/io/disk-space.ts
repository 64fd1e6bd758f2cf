import { stat, statfs } from "node:fs/promises";
import path from "node:path";
import { LocalIoError } from "../errors.ts";
import { systemErrorCode, toLocalIoError } from "./system-error.ts";

/** Bytes that will be written below a folder, which need not be there yet. */
export interface DiskNeed {
	/** for messages: `the output` */
	what: string;
	folder: string;
	/** that names another folder for it */
	flag: string;
	byteLength: number;
}

/**
 * Check that there is room for all of this. What lies on one file system is needed there together.
 *
 * @throws {LocalIoError} with the number of bytes that are missing
 */
export async function checkSpace(needs: readonly DiskNeed[]): Promise<void> {
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
			remedy: `Free ${needed - freeBytes} bytes, or name another disk with ${needs.map(({ flag }) => flag).join(" or ")}`,
		});
	}
}

/** The file system that a folder lies on, or will: that of the nearest folder that is there. */
async function lookAtDisk(
	folder: string,
): Promise<{ device: number; freeBytes: number }> {
	for (let at = path.resolve(folder); ; at = path.dirname(at))
		try {
			const { dev: device } = await stat(at);
			return { device, freeBytes: await freeBytesOf(at) };
		} catch (error) {
			const isAbsent = systemErrorCode(error) === "ENOENT";
			if (!isAbsent || at === path.dirname(at))
				throw toLocalIoError(error, at, "looking at the free space of");
		}
}

/** What a user may still write on the disk of a folder, which is there. Throws what the system says. */
export async function freeBytesOf(folder: string): Promise<number> {
	const { bavail, bsize } = await statfs(folder);
	return bavail * bsize;
}
