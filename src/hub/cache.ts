import {
	copyFile,
	mkdir,
	readdir,
	readFile,
	readlink,
	rename,
	rm,
	stat,
	symlink,
	writeFile,
} from "node:fs/promises";
import path from "node:path";
import {
	failing,
	systemErrorCode,
	toLocalIoError,
} from "../io/system-error.ts";
import { COMMIT, isPlainPath, OID, type RemoteFile } from "./repository.ts";
import type { HubSettings } from "./settings.ts";

/** What a file system says that has no symbolic links, or does not let us make any. */
const NO_LINKS = new Set([
	...["EPERM", "EACCES", "EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"],
]);

/** A file that a snapshot holds. */
export interface SnapshotFile {
	/** in the repository */
	path: string;
	byteLength: number;
	/** its checksum, by which its blob is named: SHA-256 or the id of a git blob; null where it lies here itself */
	oid: string | null;
}

/**
 * The folder of one repository in a Hub cache, laid out as the Python client does (huggingface_hub, "Understand
 * caching"): `blobs/<oid>`, which may be a link into a store for all repositories, `refs/<revision>`,
 * `snapshots/<commit>/<path>` → blob, and `.no_exist/<commit>/<path>` for what is known not to be there. The last
 * is written for that client and never asked: which files there are comes from the Hub's list or, offline, from
 * the snapshot.
 */
export class RepositoryCache {
	readonly folder: string;
	readonly blobs: string;
	private readonly symlinks: boolean;

	constructor(
		{ cacheDir, symlinks }: Pick<HubSettings, "cacheDir" | "symlinks">,
		repository: string,
	) {
		this.symlinks = symlinks;
		const name = `models--${repository.replaceAll("/", "--")}`;
		this.folder = path.join(cacheDir, name);
		this.blobs = path.join(this.folder, "blobs");
	}

	snapshot(commit: string): string {
		return path.join(this.folder, "snapshots", commit);
	}

	/** The commit a revision was when it was last fetched; null where it never was. */
	async readRevision(revision: string): Promise<string | null> {
		if (COMMIT.test(revision))
			return (await isThere(this.snapshot(revision))) ? revision : null;
		const file = path.join(this.folder, "refs", ...revision.split("/"));
		const text = await readFile(file, "utf8").catch((error) => {
			if (isAbsent(error)) return null;
			throw toLocalIoError(error, file, "reading");
		});
		const commit = text?.trim() ?? "";
		return COMMIT.test(commit) ? commit : null;
	}

	async writeRevision(revision: string, commit: string): Promise<void> {
		if (COMMIT.test(revision)) return;
		const file = path.join(this.folder, "refs", ...revision.split("/"));
		await attempt(file, "writing", async () => {
			await mkdir(path.dirname(file), { recursive: true });
			const fresh = `${file}.${uniqueSuffix()}`;
			await writeFile(fresh, commit, { flag: "wx" });
			await rename(fresh, file);
		});
	}

	/** Note files that a commit does not have, so that the Python client need not ask for them. */
	async writeMissing(commit: string, paths: readonly string[]): Promise<void> {
		const folder = path.join(this.folder, ".no_exist", commit);
		for (const missing of paths) {
			const file = path.join(folder, ...missing.split("/"));
			// It is of use, not of need.
			await mkdir(path.dirname(file), { recursive: true })
				.then(() => writeFile(file, "", { flag: "a" }))
				.catch(() => {});
		}
	}

	/** The files that a snapshot holds whole; a link to nothing is none. */
	async listSnapshot(commit: string): Promise<SnapshotFile[]> {
		return (await this.lookIntoSnapshot(commit)).files;
	}

	/** @returns also the paths that are links to nothing */
	async lookIntoSnapshot(
		commit: string,
	): Promise<{ files: SnapshotFile[]; broken: string[] }> {
		const folder = this.snapshot(commit);
		return attempt(folder, "listing", async () => {
			const files: SnapshotFile[] = [];
			const broken: string[] = [];
			const names = await readdir(folder, { recursive: true }).catch(
				(error) => {
					if (isAbsent(error)) return [];
					throw error;
				},
			);
			for (const name of names.sort()) {
				const file = path.join(folder, name);
				const stats = await stat(file).catch(() => null);
				const inRepository = name.split(path.sep).join("/");
				if (!isPlainPath(inRepository)) continue;
				if (stats === null) broken.push(inRepository);
				if (!stats?.isFile()) continue;
				const oid = path.basename(await readlink(file).catch(() => ""));
				files.push({
					...{ path: inRepository, byteLength: stats.size },
					oid: OID.test(oid) ? oid : null,
				});
			}
			return { files, broken };
		});
	}

	/** Whether a snapshot holds a file, with its length; links are followed. */
	async holds(file: RemoteFile): Promise<boolean> {
		return hasLength(this.pointer(file), file.byteLength);
	}

	/** A file's content, of whatever commit; null where it is not there. */
	async find(file: RemoteFile): Promise<string | null> {
		if (await this.holds(file)) return this.pointer(file);
		return (await this.holdsBlob(file)) ? this.blob(file.oid) : null;
	}

	/** Whether the content of a file is there, of whatever commit. */
	async holdsBlob({ oid, byteLength }: RemoteFile): Promise<boolean> {
		return hasLength(this.blob(oid), byteLength);
	}

	blob(oid: string): string {
		return path.join(this.blobs, oid);
	}

	/**
	 * Put a file, whose blob is there, into its snapshot: as a link or, where there are none, as the file itself.
	 *
	 * @param isNew  the blob was made for this snapshot, so no other needs it
	 */
	async link(file: RemoteFile, isNew: boolean): Promise<void> {
		const pointer = this.pointer(file);
		const blob = this.blob(file.oid);
		const target = path.relative(path.dirname(pointer), blob);
		await attempt(pointer, "linking", async () => {
			await mkdir(path.dirname(pointer), { recursive: true });
			if ((await readlink(pointer).catch(() => null)) === target) return;
			const fresh = `${pointer}.${uniqueSuffix()}`;
			const isLinked = this.symlinks && (await makeLink(target, fresh));
			if (!isLinked && isNew) return rename(blob, pointer);
			try {
				if (!isLinked) await copyFile(blob, fresh);
				await rename(fresh, pointer);
			} catch (error) {
				await rm(fresh, { force: true });
				throw error;
			}
		});
	}

	/** Where a file lies in its snapshot, or will. */
	pointer({ commit, path: file }: RemoteFile): string {
		return path.join(this.snapshot(commit), ...file.split("/"));
	}
}

/** @returns false where the file system makes no links */
async function makeLink(target: string, file: string): Promise<boolean> {
	return symlink(target, file).then(
		() => true,
		(error) => {
			if (NO_LINKS.has(systemErrorCode(error) ?? "")) return false;
			throw error;
		},
	);
}

/** Distinct from that of any other process, and of any other call. */
function uniqueSuffix(): string {
	return `${process.pid}-${counter++}.incomplete`;
}
let counter = 0;

async function hasLength(file: string, byteLength: number): Promise<boolean> {
	const stats = await stat(file).catch(() => null);
	return stats?.isFile() === true && stats.size === byteLength;
}

async function isThere(file: string): Promise<boolean> {
	return stat(file).then(
		() => true,
		() => false,
	);
}

function isAbsent(error: unknown): boolean {
	const code = systemErrorCode(error) ?? "";
	return ["ENOENT", "ENOTDIR", "EISDIR"].includes(code);
}

function attempt<T>(
	where: string,
	what: string,
	work: () => Promise<T>,
): Promise<T> {
	return work().catch(failing(where, what));
}
