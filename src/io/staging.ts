import { createHash } from "node:crypto";
import {
	mkdir,
	open,
	readdir,
	readFile,
	rename,
	rm,
	rmdir,
	writeFile,
} from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";
import { OutputConflictError } from "../errors.ts";
import type { DirectIo } from "./direct-io.ts";
import { OutputFile, type WrittenFile } from "./output-file.ts";
import { systemErrorCode, toLocalIoError } from "./system-error.ts";

const OWNER_FILE_NAME = "owner.json";

/**
 * A folder beside the output in which it grows, out of sight until it is complete:
 * `<out>.merge-delta/` holds the owner's note and `merged/`, which becomes `<out>` by one rename.
 */
export class Staging {
	private readonly out: string;
	private readonly root: string;
	private readonly merged: string;

	private constructor(out: string) {
		this.out = out;
		this.root = stagingPath(out);
		this.merged = path.join(this.root, "merged");
	}

	/**
	 * Make the staging folder of an output, replacing one whose process is gone.
	 *
	 * @throws {OutputConflictError} where another process may be using it, or it is not ours
	 */
	static async open(out: string): Promise<Staging> {
		const staging = new Staging(path.resolve(out));
		await makeFolder(staging.root, async () => {
			await refuseUnlessAbandoned(staging.root);
			await rm(staging.root, { recursive: true });
		});
		try {
			await writeFile(
				path.join(staging.root, OWNER_FILE_NAME),
				JSON.stringify({ pid: process.pid, host: hostname() }),
				{ flag: "wx" },
			);
			await mkdir(staging.merged);
		} catch (error) {
			throw toLocalIoError(error, staging.root, "creating");
		}
		return staging;
	}

	/** Begin a file of the output, which must be finished or abandoned. */
	async create(fileName: string, directIo: DirectIo): Promise<OutputFile> {
		const file = path.join(this.merged, fileName);
		return OutputFile.create(file, directIo);
	}

	/** Make a whole file of the output from its pieces, durable once this resolves. */
	async write(
		fileName: string,
		pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
	): Promise<WrittenFile> {
		const file = await OutputFile.create(path.join(this.merged, fileName));
		const hash = createHash("sha256");
		let byteLength = 0;
		try {
			for await (const bytes of pieces) {
				await file.write(byteLength, bytes);
				hash.update(bytes);
				byteLength += bytes.length;
			}
			await file.finish();
		} finally {
			await file.abandon();
		}
		return { fileName, byteLength, sha256: hash.digest("hex") };
	}

	/**
	 * Make the output appear, whole, under its name.
	 *
	 * @throws {OutputConflictError} where something has appeared there in the meantime
	 */
	async publish(): Promise<void> {
		await syncFolder(this.merged);
		await rmdir(this.out).catch(() => {}); // an empty folder may stand there
		await rename(this.merged, this.out).catch((error) => {
			const code = systemErrorCode(error) ?? "";
			if (["ENOTEMPTY", "EEXIST", "ENOTDIR"].includes(code))
				throw outputExists(this.out);
			throw toLocalIoError(error, this.out, "publishing");
		});
		await syncFolder(path.dirname(this.out));
		await this.discard();
	}

	/** Delete the staging folder and all in it. */
	async discard(): Promise<void> {
		await rm(this.root, { recursive: true, force: true }).catch((error) => {
			throw toLocalIoError(error, this.root, "removing");
		});
	}
}

export function stagingPath(out: string): string {
	return `${path.resolve(out)}.merge-delta`;
}

/** @throws {OutputConflictError} unless `out` is absent or an empty folder */
export async function checkOutputAbsent(out: string): Promise<void> {
	const names = await readdir(out).catch((error) => {
		const code = systemErrorCode(error);
		if (code === "ENOENT") return [];
		if (code === "ENOTDIR") throw outputExists(out);
		throw toLocalIoError(error, out, "looking at the output");
	});
	if (names.length > 0) throw outputExists(out);
}

function outputExists(out: string): OutputConflictError {
	return new OutputConflictError({
		where: out,
		what: "the output exists already",
		remedy: "Name another folder, or move this one away",
	});
}

async function makeFolder(
	folder: string,
	clear: () => Promise<void>,
): Promise<void> {
	try {
		await mkdir(folder);
	} catch (error) {
		if (systemErrorCode(error) !== "EEXIST")
			throw toLocalIoError(error, folder, "creating");
		await clear();
		await mkdir(folder).catch((second) => {
			throw toLocalIoError(second, folder, "creating");
		});
	}
}

async function refuseUnlessAbandoned(root: string): Promise<void> {
	const owner = await readOwner(root);
	if (owner !== null && owner.host === hostname() && !isAlive(owner.pid))
		return;
	const names = await readdir(root).catch(() => [root]);
	if (names.length === 0) return; // killed before it could say whose it is
	throw new OutputConflictError({
		where: root,
		what:
			owner === null
				? "not a staging folder of a merge"
				: `in use by process ${owner.pid} on ${owner.host}`,
		remedy: `If no merge to this output is running, delete the folder and run again`,
	});
}

async function readOwner(
	root: string,
): Promise<{ pid: number; host: string } | null> {
	try {
		const owner = JSON.parse(
			await readFile(path.join(root, OWNER_FILE_NAME), "utf8"),
		);
		return typeof owner?.pid === "number" && typeof owner.host === "string"
			? owner
			: null;
	} catch {
		return null;
	}
}

function isAlive(pid: number): boolean {
	try {
		process.kill(pid, 0);
		return true;
	} catch (error) {
		return systemErrorCode(error) !== "ESRCH";
	}
}

/** Make a folder's entries durable, where the file system can. */
async function syncFolder(folder: string): Promise<void> {
	try {
		const handle = await open(folder, "r");
		try {
			await handle.sync();
		} finally {
			await handle.close();
		}
	} catch (error) {
		const code = systemErrorCode(error) ?? "";
		// Windows and some network file systems have no such call.
		if (["EINVAL", "ENOTSUP", "EPERM", "EISDIR", "EACCES"].includes(code))
			return;
		throw toLocalIoError(error, folder, "flushing");
	}
}
