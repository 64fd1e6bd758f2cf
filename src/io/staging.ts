import { createHash } from "node:crypto";
import path from "node:path";
import type { DirectIo } from "./direct-io.ts";
import type { FileSystem } from "./file-system.ts";
import {
	listIfThere,
	removeIfThere,
	removeTree,
	syncFolder,
} from "./folders.ts";
import { OutputFile, type WrittenFile } from "./output-file.ts";
import { lookAtOutput, outputExists, stagingPath } from "./output-place.ts";
import { StagingNotes } from "./staging-notes.ts";
import { failing, systemErrorCode, toLocalIoError } from "./system-error.ts";
import {
	inUse,
	mergedName,
	OWNER_FILE_NAME,
	type Place,
	refuseUnlessAbandoned,
	strange,
	takeMerged,
	takeOwnership,
} from "./take-over.ts";

/** Of a file of the output that is not whole yet. */
const PART_SUFFIX = ".merge-delta-part";
/** What a rename to a name fails with at which something stands. */
const IS_THERE: readonly (string | null)[] = ["ENOTEMPTY", "EEXIST", "ENOTDIR"];

/** A file of the output on its way. */
export interface StagedFile {
	fileName: string;
	isWhole: boolean;
}

/**
 * A folder beside the output in which it grows, out of sight until it is complete. `<out>.merge-delta/` holds the
 * owner's note, `plan.json`, the journal, and `merged.<owner>/`, which becomes `<out>` by one rename.
 *
 * The name of that folder is what makes an owner: whoever takes over a folder renames it, so that a process
 * which wrongly counts as dead can publish nothing any more. The owner's note only saves the second the work.
 */
export class Staging {
	readonly root: string;
	readonly notes: StagingNotes;
	/** whether nothing was there before */
	readonly isNew: boolean;
	/** false once the file system would not make a folder durable */
	syncsFolders = true;
	private readonly out: string;
	private readonly files: FileSystem;
	private readonly merged: string;
	/** names that a loss of power may take */
	private readonly unsynced: Set<string>;
	private synced: Promise<void> = Promise.resolve();
	private mergedIsThere: boolean;

	private constructor(place: Place, isNew: boolean, mergedIsThere: boolean) {
		this.out = path.resolve(place.out);
		this.files = place.files;
		this.root = stagingPath(place.out);
		this.notes = new StagingNotes(place.files, this.root);
		this.merged = path.join(this.root, mergedName(place.self));
		this.isNew = isNew;
		this.mergedIsThere = mergedIsThere;
		this.unsynced = new Set([this.root, path.dirname(this.root)]);
	}

	/**
	 * Make the staging folder of an output, or take over one whose process is gone. Must be released.
	 *
	 * @throws {OutputConflictError} where another process may be using it, or not all of it is ours
	 */
	static async open(place: Place): Promise<Staging> {
		const root = stagingPath(place.out);
		const { files } = place;
		let isOwned = false;
		try {
			const entries = await listIfThere(files, root);
			if (entries === null) await files.makeFolder(root);
			else await refuseUnlessAbandoned(place, root, entries);
			await takeOwnership(place, root, entries ?? []);
			isOwned = true;
			const merged = await takeMerged(place, root, entries ?? []);
			return new Staging(place, entries === null, merged);
		} catch (error) {
			if (isOwned)
				await files
					.removeFile(path.join(root, OWNER_FILE_NAME))
					.catch(() => {});
			const { cause = error } = error as Error;
			if (systemErrorCode(cause) === "EEXIST") throw inUse(root, cause);
			throw toLocalIoError(error, root, "taking");
		}
	}

	/** Whether the files of an output are here, as far as they were written. */
	get hasMerged(): boolean {
		return this.mergedIsThere;
	}

	/** Make room for the files of an output, with nothing in it. */
	async begin(): Promise<void> {
		await this.notes.remove();
		await removeTree(this.files, this.merged);
		await this.files
			.makeFolder(this.merged)
			.catch(failing(this.merged, "creating"));
		this.mergedIsThere = true;
	}

	/**
	 * The files of the output that are here, whole or in part; of one name there may be both.
	 *
	 * @param known  the names of all that the output will have
	 * @throws {OutputConflictError} where there is another
	 */
	async list(known: ReadonlySet<string>): Promise<StagedFile[]> {
		const entries = await this.files
			.list(this.merged)
			.catch(failing(this.merged, "listing"));
		return entries.map(({ name }) => {
			const isWhole = !name.endsWith(PART_SUFFIX);
			const fileName = isWhole ? name : name.slice(0, -PART_SUFFIX.length);
			if (!known.has(fileName)) throw strange(path.join(this.merged, name));
			return { fileName, isWhole };
		});
	}

	/** Begin a file of the output; it counts as whole from `complete` on. Must be closed. */
	async create(
		fileName: string,
		directIo: DirectIo = "off",
	): Promise<OutputFile> {
		const file = this.pathOf({ fileName, isWhole: false });
		const opened = await OutputFile.create(this.files, file, directIo);
		this.unsynced.add(this.merged);
		return opened;
	}

	/** Open a file of the output that is here. Must be closed. */
	open(staged: StagedFile, directIo: DirectIo): Promise<OutputFile> {
		return OutputFile.open(this.files, this.pathOf(staged), directIo);
	}

	/** Say that a file is whole; its bytes are durable. */
	complete(fileName: string): Promise<void> {
		return this.move({ fileName, isWhole: false });
	}

	/** Say that a file is not whole after all. */
	reopen(fileName: string): Promise<void> {
		return this.move({ fileName, isWhole: true });
	}

	private async move({ fileName, isWhole }: StagedFile): Promise<void> {
		const to = this.pathOf({ fileName, isWhole: !isWhole });
		await this.rename(this.pathOf({ fileName, isWhole }), to);
		this.unsynced.add(this.merged);
	}

	async remove(staged: StagedFile): Promise<void> {
		await removeIfThere(this.files, this.pathOf(staged));
	}

	/** Make a whole file of the output from its pieces, durable once this resolves, its name excepted. */
	async write(
		fileName: string,
		pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
	): Promise<WrittenFile> {
		const file = await this.create(fileName);
		const hash = createHash("sha256");
		let byteLength = 0;
		try {
			for await (const bytes of pieces) {
				await file.write(byteLength, bytes);
				hash.update(bytes);
				byteLength += bytes.length;
			}
			await file.sync();
			await file.close();
		} catch (error) {
			await file.abandon();
			throw error;
		}
		await this.complete(fileName);
		return { fileName, byteLength, sha256: hash.digest("hex") };
	}

	/** Make the names of all that was created or renamed durable, as far as the file system can. */
	syncNames(): Promise<void> {
		this.synced = this.synced.then(() => this.syncUnsynced());
		return this.synced;
	}

	private async syncUnsynced(): Promise<void> {
		for (const folder of [...this.unsynced]) {
			this.unsynced.delete(folder);
			if (!(await syncFolder(this.files, folder))) this.syncsFolders = false;
		}
	}

	/**
	 * Make the output appear, whole, under its name, which `syncNames` makes durable; its files must be exactly these.
	 *
	 * @param old  where a folder that stands there is moved; null: none may
	 * @throws {OutputConflictError} where something has appeared there in the meantime
	 */
	async publish(
		fileNames: ReadonlySet<string>,
		old: string | null,
	): Promise<void> {
		const { out, merged, files, root } = this;
		for (const staged of await this.list(fileNames))
			if (!staged.isWhole) throw strange(this.pathOf(staged));
		if (!(await syncFolder(files, merged))) this.syncsFolders = false;
		const there = await lookAtOutput(files, out);
		if (there === "empty") await files.removeFolder(out).catch(() => {});
		if (there === "full" && old !== null) await this.rename(out, old);
		await files.rename(merged, out).catch(async (error) => {
			if (old !== null) await files.rename(old, out).catch(() => {});
			if (IS_THERE.includes(systemErrorCode(error))) throw outputExists(out);
			throw toLocalIoError(error, out, "publishing");
		});
		this.mergedIsThere = false;
		this.unsynced.delete(merged);
		this.unsynced.add(path.dirname(out)).add(root);
	}

	/** Let others take over the folder, as it is. */
	async release(): Promise<void> {
		await removeIfThere(this.files, path.join(this.root, OWNER_FILE_NAME));
	}

	/** Delete the folder and all that is ours in it. */
	async discard(): Promise<void> {
		await removeTree(this.files, this.merged);
		await this.notes.remove();
		await this.release();
		await this.files
			.removeFolder(this.root)
			.catch(failing(this.root, "removing"));
	}

	private pathOf({ fileName, isWhole }: StagedFile): string {
		const name = isWhole ? fileName : fileName + PART_SUFFIX;
		return path.join(this.merged, name);
	}

	private rename(from: string, to: string): Promise<void> {
		return this.files.rename(from, to).catch(failing(from, "renaming"));
	}
}
