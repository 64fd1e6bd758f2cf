import path from "node:path";
import type { FileSystem, StoredFile } from "../../../src/io/file-system.ts";
import {
	apply,
	type Change,
	Content,
	type Entry,
	type Folder,
	type Nodes,
	Pending,
} from "./disk.ts";

/** One operation of a run, as it was asked for. */
export interface Operation {
	what:
		| "create"
		| "open"
		| "read"
		| "write"
		| "truncate"
		| "stat"
		| "sync"
		| "close"
		| "list"
		| "makeFolder"
		| "removeFile"
		| "removeFolder"
		| "rename"
		| "syncFolder";
	/** from the disk's root on; of a rename, the source */
	file: string;
	/** of a rename */
	to?: string;
}

/** What happened to the disk, in the order it happened. */
export type Event = Change | { kind: "sync"; node: number };

export interface SimOptions {
	/** asked before each operation; a code such as `ENOSPC` makes it fail */
	fail?: (operation: Operation, index: number) => string | null;
	/** syncs that are said to be done and never are; `by` tells which function wants it */
	omits?: (operation: Operation, by: () => string) => boolean;
	/** syncs and renames that are said to be done and are only after an operation like this */
	delays?: (operation: Operation) => ((later: Operation) => boolean) | null;
	/** told before an operation takes effect */
	watch?: (operation: Operation, sim: SimFs, bytes?: Uint8Array) => void;
	/** of writes, for fewer bytes than were asked for */
	shortWrites?: boolean;
	/** operations under way at once are done in an order that depends on this */
	seed?: number;
}

/** Something that is done only after an operation like this. */
interface Delayed {
	until: (later: Operation) => boolean;
	act: () => void;
}

/** The root of every simulated disk. */
export const SIM_ROOT = path.resolve("/sim");

/**
 * A file system in memory that knows what a loss of power would leave: `events` tells, in their order, all changes
 * and what was synced.
 */
export class SimFs implements FileSystem {
	readonly events: Event[] = [];
	/** as programs see it */
	readonly nodes: Nodes;
	readonly pending = new Pending();
	operations = 0;
	private readonly options: SimOptions;
	private delayed: Delayed[] = [];
	/** of files that were renamed */
	private readonly paths = new Map<number, string>();
	private next: number;
	private state: number;

	constructor(nodes: Nodes, options: SimOptions = {}) {
		this.nodes = new Map(nodes);
		this.options = options;
		this.next = Math.max(0, ...nodes.keys()) + 1;
		this.state = options.seed ?? 0;
	}

	async create(file: string): Promise<StoredFile> {
		await this.begin({ what: "create", file });
		const { folder, name } = this.place(file);
		if (this.namesOf(folder).has(name)) throw failure("EEXIST");
		const node = this.next++;
		this.change({
			kind: "entries",
			entries: [{ folder, name, node, makes: "file" }],
		});
		return this.handle(node, file);
	}

	async open(file: string): Promise<StoredFile> {
		await this.begin({ what: "open", file });
		const node = this.find(file);
		if (node === null) throw failure("ENOENT");
		if (!(this.nodes.get(node) instanceof Content)) throw failure("EISDIR");
		return this.handle(node, file);
	}

	async list(folder: string) {
		await this.begin({ what: "list", file: folder });
		const names = this.folderAt(folder);
		return [...names].map(([name, node]) => ({
			...{ name, isFolder: !(this.nodes.get(node) instanceof Content) },
		}));
	}

	async makeFolder(file: string): Promise<void> {
		await this.begin({ what: "makeFolder", file });
		const { folder, name } = this.place(file);
		if (this.namesOf(folder).has(name)) throw failure("EEXIST");
		const node = this.next++;
		this.change({
			kind: "entries",
			entries: [{ folder, name, node, makes: "folder" }],
		});
	}

	async removeFile(file: string): Promise<void> {
		await this.begin({ what: "removeFile", file });
		const node = this.find(file);
		if (node === null) throw failure("ENOENT");
		if (!(this.nodes.get(node) instanceof Content)) throw failure("EISDIR");
		this.change({ kind: "entries", entries: [this.removal(file)] });
	}

	async removeFolder(file: string): Promise<void> {
		const operation: Operation = { what: "removeFolder", file };
		await this.begin(operation);
		if (this.folderAt(file).size > 0) throw failure("ENOTEMPTY");
		this.soonOrLate(operation, () =>
			this.change({ kind: "entries", entries: [this.removal(file)] }),
		);
	}

	async rename(from: string, to: string): Promise<void> {
		const operation: Operation = { what: "rename", file: from, to };
		await this.begin(operation);
		this.soonOrLate(operation, () => this.renameNow(from, to));
	}

	private renameNow(from: string, to: string): void {
		const node = this.find(from);
		if (node === null) throw failure("ENOENT");
		const there = this.find(to);
		const target = there === null ? undefined : this.nodes.get(there);
		const isFile = this.nodes.get(node) instanceof Content;
		if (target instanceof Content && !isFile) throw failure("ENOTDIR");
		if (target && !(target instanceof Content)) {
			if (isFile) throw failure("EISDIR");
			if (target.size > 0) throw failure("ENOTEMPTY");
		}
		const { folder, name } = this.place(to);
		const makes = isFile ? "file" : "folder"; // where its own making was lost
		this.change({
			kind: "entries",
			entries: [this.removal(from), { folder, name, node, makes }],
		});
		this.paths.set(node, to);
	}

	async syncFolder(file: string): Promise<void> {
		const operation: Operation = { what: "syncFolder", file };
		await this.begin(operation);
		this.folderAt(file);
		this.sync(operation, this.find(file) as number);
	}

	/** The number of a file or folder, or null. */
	find(file: string): number | null {
		let node = 0;
		const below = file.slice(SIM_ROOT.length + 1);
		for (const name of below === "" ? [] : below.split(path.sep)) {
			const folder = this.nodes.get(node);
			if (folder instanceof Content) throw failure("ENOTDIR");
			const found = folder?.get(name);
			if (found === undefined) return null;
			node = found;
		}
		return node;
	}

	/** The names of the folders in a folder. */
	foldersIn(folder: string): string[] {
		return Array.from(this.folderAt(folder))
			.filter(([, node]) => !(this.nodes.get(node) instanceof Content))
			.map(([name]) => name);
	}

	private handle(node: number, file: string): StoredFile {
		// A file that is open may have been renamed.
		const now = () => this.paths.get(node) ?? file;
		const bytes = () => (this.nodes.get(node) as Content).bytes;
		const setLength = async (byteLength: number) => {
			await this.begin({ what: "truncate", file: now() });
			this.change({ kind: "truncate", file: node, byteLength });
		};
		return {
			read: async (fileOffset, into) => {
				await this.begin({ what: "read", file: now() });
				const found = bytes().subarray(fileOffset, fileOffset + into.length);
				into.set(found);
				return found.length;
			},
			write: async (fileOffset, given) => {
				const isShort = this.options.shortWrites && given.length > 1;
				const written = isShort
					? given.subarray(0, Math.ceil(given.length / 2))
					: given;
				await this.begin({ what: "write", file: now() }, written);
				const kept = written.slice();
				this.change({ kind: "write", file: node, fileOffset, bytes: kept });
				return written.length;
			},
			truncate: setLength,
			preallocate: setLength,
			byteLength: async () => {
				await this.begin({ what: "stat", file: now() });
				return bytes().length;
			},
			sync: async () => {
				const operation: Operation = { what: "sync", file: now() };
				await this.begin(operation);
				this.sync(operation, node);
			},
			close: () => this.begin({ what: "close", file: now() }),
		};
	}

	/** Wait a little, so that others may come before, and fail if that is wanted. */
	private async begin(operation: Operation, bytes?: Uint8Array): Promise<void> {
		if (this.options.seed !== undefined) {
			this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
			for (let turns = this.state >>> 29; turns > 0; turns--) await null;
		}
		const index = this.operations++;
		const code = this.options.fail?.(operation, index);
		if (code) throw failure(code);
		this.options.watch?.(operation, this, bytes);
	}

	private sync(operation: Operation, node: number): void {
		if (this.options.omits?.(operation, whoSyncs)) return;
		this.soonOrLate(operation, () => {
			this.events.push({ kind: "sync", node });
			this.pending.settle(node);
		});
	}

	/** Do it now, and then what has waited for it; or let it wait itself. */
	private soonOrLate(operation: Operation, act: () => void): void {
		const until = this.options.delays?.(operation) ?? null;
		if (until === null) act();
		const due = this.delayed.filter((each) => each.until(operation));
		this.delayed = this.delayed.filter((each) => !due.includes(each));
		if (until !== null) this.delayed.push({ until, act });
		for (const each of due) each.act();
	}

	private change(change: Change): void {
		this.events.push(change);
		this.pending.add(change);
		apply(this.nodes, change, "all");
	}

	private place(file: string): { folder: number; name: string } {
		const folder = this.find(path.dirname(file));
		if (folder === null) throw failure("ENOENT");
		return { folder, name: path.basename(file) };
	}

	private removal(file: string): Entry {
		return { ...this.place(file), node: null };
	}

	private namesOf(folder: number): Folder {
		return this.nodes.get(folder) as Folder;
	}

	private folderAt(file: string): Folder {
		const node = this.find(file);
		if (node === null) throw failure("ENOENT");
		const names = this.nodes.get(node);
		if (names === undefined || names instanceof Content)
			throw failure("ENOTDIR");
		return names;
	}
}

/** The function of the program that is syncing, behind those that only pass it on. */
function whoSyncs(): string {
	const { prepareStackTrace, stackTraceLimit } = Error;
	Error.stackTraceLimit = 30;
	// Not as the test runner prepares it, which maps every line and takes ten times as long.
	Error.prepareStackTrace = (_, sites) => sites.map(String).join("\n");
	const { stack = "" } = new Error();
	Object.assign(Error, { prepareStackTrace, stackTraceLimit });
	const frames = [...stack.matchAll(/^(?:async )?(\S+) \(.*[\\/]src[\\/]/gm)];
	const names = frames.map(([, name = ""]) => name);
	const passOn = ["OutputFile.sync", "syncFolder"];
	return names.find((name) => !passOn.includes(name)) ?? "";
}

function failure(code: string): Error {
	const { stackTraceLimit } = Error;
	Error.stackTraceLimit = 0; // there are thousands
	const error = Object.assign(new Error(`${code}: simulated`), { code });
	Error.stackTraceLimit = stackTraceLimit;
	return error;
}
