import { createHash } from "node:crypto";

/** A file's bytes, never changed in place. */
export class Content {
	readonly bytes: Uint8Array;
	private sha1: string | null = null;

	constructor(bytes: Uint8Array) {
		this.bytes = bytes;
	}

	get hash(): string {
		this.sha1 ??= createHash("sha1").update(this.bytes).digest("hex");
		return this.sha1;
	}
}

export type Folder = ReadonlyMap<string, number>;

/** What a disk holds: files and folders by their number; the folder 0 is where all begins. */
export type Nodes = Map<number, Content | Folder>;

/** A change of a disk. Until the file or folders it belongs to are synced, a crash may take it, or a part of it. */
export type Change =
	| { kind: "write"; file: number; fileOffset: number; bytes: Uint8Array }
	| { kind: "truncate"; file: number; byteLength: number }
	/** all of it, or nothing */
	| { kind: "entries"; entries: readonly Entry[] };

/** A name that is set, or removed where there is no node. */
export interface Entry {
	folder: number;
	name: string;
	node: number | null;
	/** what the node is, empty, where nothing is known of it */
	makes?: "file" | "folder";
}

/** What a crash leaves of a change. */
export type Survival = "nothing" | "all" | "zeros" | { sectors: number };

const SECTOR_BYTES = 512;

/** Make a change of a disk, or what a crash leaves of it. */
export function apply(nodes: Nodes, change: Change, survival: Survival): void {
	if (survival === "nothing") return;
	switch (change.kind) {
		case "entries":
			for (const { folder, name, node, makes } of change.entries) {
				const names = new Map(nodes.get(folder) as Folder | undefined);
				if (node === null) names.delete(name);
				else names.set(name, node);
				nodes.set(folder, names);
				if (node !== null && makes && !nodes.has(node))
					nodes.set(
						node,
						makes === "file" ? new Content(new Uint8Array()) : new Map(),
					);
			}
			break;
		case "truncate": {
			const bytes = new Uint8Array(change.byteLength);
			const before = bytesOf(nodes, change.file);
			bytes.set(before.subarray(0, change.byteLength));
			nodes.set(change.file, new Content(bytes));
			break;
		}
		case "write":
			write(nodes, change, survival);
	}
}

function write(
	nodes: Nodes,
	{ file, fileOffset, bytes }: Extract<Change, { kind: "write" }>,
	survival: Survival,
): void {
	const before = bytesOf(nodes, file);
	const end = fileOffset + bytes.length;
	const after = new Uint8Array(Math.max(before.length, end));
	after.set(before);
	if (survival === "zeros") after.fill(0, Math.max(before.length, fileOffset));
	else if (typeof survival === "object") {
		let at = 0;
		for (let sector = 0; at < bytes.length; sector++) {
			const next = SECTOR_BYTES - ((fileOffset + at) % SECTOR_BYTES);
			if ((survival.sectors >> (sector % 30)) & 1)
				after.set(bytes.subarray(at, at + next), fileOffset + at);
			at += next;
		}
	} else after.set(bytes, fileOffset);
	nodes.set(file, new Content(after));
}

function bytesOf(nodes: Nodes, file: number): Uint8Array {
	const node = nodes.get(file);
	return node instanceof Content ? node.bytes : new Uint8Array();
}

/** All files and folders by their path from a folder on. */
export function listTree(
	nodes: Nodes,
	folder = 0,
	prefix = "",
): Map<string, Content | null> {
	const found = new Map<string, Content | null>();
	const names = nodes.get(folder);
	if (names === undefined || names instanceof Content) return found;
	for (const [name, number] of [...names].sort(([a], [b]) =>
		a < b ? -1 : 1,
	)) {
		const node = nodes.get(number);
		const path = prefix + name;
		if (node instanceof Content) found.set(path, node);
		else {
			found.set(path, null);
			for (const [each, content] of listTree(nodes, number, `${path}/`))
				found.set(each, content);
		}
	}
	return found;
}

/** What a disk holds, as text: the same for disks that hold the same. */
export function describeDisk(nodes: Nodes): string {
	return Array.from(listTree(nodes), ([name, content]) =>
		content === null
			? `${name}/`
			: `${name} ${content.bytes.length} ${content.hash}`,
	).join("\n");
}

/** Changes that a crash may take, in their order. */
export class Pending {
	private readonly entries: { change: Change; waitsFor: Set<number> }[] = [];

	get changes(): Change[] {
		return this.entries.map(({ change }) => change);
	}

	add(change: Change): void {
		const nodes =
			change.kind === "entries"
				? change.entries.map(({ folder }) => folder)
				: [change.file];
		this.entries.push({ change, waitsFor: new Set(nodes) });
	}

	/** Sync a file or a folder. @returns changes that no crash can take any more; a rename needs both its folders */
	settle(node: number): Change[] {
		const settled: Change[] = [];
		for (const { change, waitsFor } of this.entries)
			if (waitsFor.delete(node) && waitsFor.size === 0) settled.push(change);
		const left = this.entries.filter(({ waitsFor }) => waitsFor.size > 0);
		this.entries.splice(0, this.entries.length, ...left);
		return settled;
	}

	/** Whether bytes of a file, below an offset, or names of a folder may be lost. */
	holds(node: number, below = Number.POSITIVE_INFINITY): boolean {
		return this.entries.some(({ change, waitsFor }) => {
			if (!waitsFor.has(node)) return false;
			if (change.kind === "write") return change.fileOffset < below;
			return change.kind === "entries" || change.byteLength < below;
		});
	}
}
