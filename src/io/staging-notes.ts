import path from "node:path";
import type { FileSystem } from "./file-system.ts";
import { removeIfThere } from "./folders.ts";
import { OutputFile } from "./output-file.ts";
import { failing } from "./system-error.ts";

/** Files that a staging folder has beside those of the output: what is made, and how far that is. */
export type Note = "plan.json" | "journal";

const MAX_NOTE_BYTES = 2 ** 28;

/** The notes in a staging folder. */
export class StagingNotes {
	private readonly files: FileSystem;
	private readonly root: string;

	constructor(files: FileSystem, root: string) {
		this.files = files;
		this.root = root;
	}

	/** @returns null where there is none */
	async read(note: Note): Promise<Uint8Array | null> {
		const entries = await this.files
			.list(this.root)
			.catch(failing(this.root, "listing"));
		if (!entries.some(({ name }) => name === note)) return null;
		const opened = await OutputFile.open(this.files, this.pathOf(note));
		try {
			const byteLength = await opened.byteLength();
			const bytes = new Uint8Array(Math.min(byteLength, MAX_NOTE_BYTES));
			await opened.read(0, bytes);
			return bytes;
		} finally {
			await opened.abandon();
		}
	}

	/** Make a note durable, its name excepted. @returns the note, open to be written on. Must be closed */
	async write(note: Note, bytes: Uint8Array): Promise<OutputFile> {
		const [fresh, file] = [this.freshPathOf(note), this.pathOf(note)];
		await removeIfThere(this.files, fresh);
		const opened = await OutputFile.create(this.files, fresh);
		try {
			await opened.write(0, bytes);
			await opened.sync();
			await this.files.rename(fresh, file).catch(failing(fresh, "renaming"));
			opened.path = file;
			return opened;
		} catch (error) {
			await opened.abandon();
			throw error;
		}
	}

	/** Remove all, those too that were not written to their end. */
	async remove(): Promise<void> {
		for (const note of ["journal", "plan.json"] as const)
			for (const file of [this.pathOf(note), this.freshPathOf(note)])
				await removeIfThere(this.files, file);
	}

	private pathOf(note: Note): string {
		return path.join(this.root, note);
	}

	/** Where it is written, before it takes the place of an older one. */
	private freshPathOf(note: Note): string {
		return `${this.pathOf(note)}.tmp`;
	}
}
