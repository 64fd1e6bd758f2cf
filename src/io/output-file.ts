import type { DirectIo } from "./direct-io.ts";
import type { FileSystem, StoredFile } from "./file-system.ts";
import { failing } from "./system-error.ts";

/** A file of the output, complete and durable. */
export interface WrittenFile {
	fileName: string;
	byteLength: number;
	sha256: string;
}

/** A file that is made in pieces of any order, and made durable now and then and in the end. */
export class OutputFile {
	/** where it is, for messages; whoever renames it changes this too */
	path: string;
	private readonly file: StoredFile;

	private constructor(path: string, file: StoredFile) {
		this.path = path;
		this.file = file;
	}

	/** Create a file that does not exist yet; a link in its place is not followed. */
	static create(
		files: FileSystem,
		path: string,
		directIo: DirectIo = "off",
	): Promise<OutputFile> {
		return OutputFile.opened(path, "creating", files.create(path, directIo));
	}

	/** Open a file that is there, to read it and go on with it. */
	static open(
		files: FileSystem,
		path: string,
		directIo: DirectIo = "off",
	): Promise<OutputFile> {
		return OutputFile.opened(path, "opening", files.open(path, directIo));
	}

	private static async opened(
		path: string,
		what: string,
		opening: Promise<StoredFile>,
	): Promise<OutputFile> {
		return new OutputFile(path, await opening.catch(failing(path, what)));
	}

	/** Fill `into` from the offset on. @throws {RangeError} where the file ends before */
	async read(fileOffset: number, into: Uint8Array): Promise<void> {
		await this.whole("reading", into, (at, rest) =>
			this.file.read(fileOffset + at, rest),
		);
	}

	/** Write `bytes`, which may be used again once this resolves. */
	async write(fileOffset: number, bytes: Uint8Array): Promise<void> {
		await this.whole("writing", bytes, (at, rest) =>
			this.file.write(fileOffset + at, rest),
		);
	}

	byteLength(): Promise<number> {
		return this.file.byteLength().catch(failing(this.path, "looking at it"));
	}

	/** Forget what lies behind. */
	truncate(byteLength: number): Promise<void> {
		return this.file
			.truncate(byteLength)
			.catch(failing(this.path, "shortening"));
	}

	/** Give it its full length before it is written, so that a limit on the length of files is met at once. */
	preallocate(byteLength: number): Promise<void> {
		return this.file
			.preallocate(byteLength)
			.catch(failing(this.path, "preallocating"));
	}

	/** Make all that is written durable. */
	async sync(): Promise<void> {
		// Never tried again: after a failed fsync the pages count as clean although they are not.
		await this.file.sync().catch(failing(this.path, "flushing"));
	}

	async close(): Promise<void> {
		await this.file.close().catch(failing(this.path, "closing"));
	}

	/** Close without any promise about the content; any number of times. */
	async abandon(): Promise<void> {
		await this.file.close().catch(() => {});
	}

	/** Repeat a call that may move fewer bytes than it was asked to. */
	private async whole(
		what: string,
		bytes: Uint8Array,
		call: (at: number, rest: Uint8Array) => Promise<number>,
	): Promise<void> {
		for (let done = 0; done < bytes.length; ) {
			const rest = done === 0 ? bytes : bytes.subarray(done);
			const moved = await call(done, rest).catch(failing(this.path, what));
			if (moved === 0)
				throw new RangeError(
					`${this.path}: ${what} stopped after ${done} of ${bytes.length} bytes`,
				);
			done += moved;
		}
	}
}
