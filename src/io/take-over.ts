import { createHash } from "node:crypto";
import path from "node:path";
import { OutputConflictError } from "../errors.ts";
import type { FileSystem } from "./file-system.ts";
import { removeIfThere, syncFolder } from "./folders.ts";
import { OutputFile } from "./output-file.ts";
import { mayRun, type Owner, parseOwner } from "./owner.ts";
import { systemErrorCode } from "./system-error.ts";

/** Where an output is made, and by whom. */
export interface Place {
	out: string;
	files: FileSystem;
	self: Owner;
}

type Entries = readonly { name: string }[];

export const OWNER_FILE_NAME = "owner.json";
const OURS =
	/^(owner\.json|(plan\.json|journal)(\.tmp)?|merged\.[0-9a-f]{12})$/;
const MAX_OWNER_BYTES = 4096;

/** The folder of the output's files while it is this process's. */
export function mergedName(self: Owner): string {
	const id = createHash("sha256").update(JSON.stringify(self)).digest("hex");
	return `merged.${id.slice(0, 12)}`;
}

/** @throws {OutputConflictError} where another process may be using the folder, or not all of it is ours */
export async function refuseUnlessAbandoned(
	{ files, self }: Place,
	root: string,
	entries: Entries,
): Promise<void> {
	const stranger = entries.find(({ name }) => !OURS.test(name));
	if (stranger) throw strange(path.join(root, stranger.name));
	if (!entries.some(({ name }) => name === OWNER_FILE_NAME)) return;
	const owner = parseOwner(
		await readNote(files, path.join(root, OWNER_FILE_NAME)),
	);
	if (owner !== null && (await mayRun(owner, self)))
		throw inUse(root, null, owner);
}

/** Leave our name; of two that come at once, one gets it. */
export async function takeOwnership(
	{ files, self }: Place,
	root: string,
	entries: Entries,
): Promise<void> {
	const file = path.join(root, OWNER_FILE_NAME);
	if (entries.some(({ name }) => name === OWNER_FILE_NAME))
		await removeIfThere(files, file);
	// Not synced: after a loss of power nobody owns it.
	const made = await OutputFile.create(files, file);
	const note = JSON.stringify(self);
	try {
		await made.write(0, Buffer.from(note));
		await made.close();
	} catch (error) {
		await made.abandon();
		await files.removeFile(file).catch(() => {});
		throw error;
	}
	// Whoever came before it was written took it for one that nobody stands behind.
	const standing = await readNote(files, file).catch((error) => {
		if (systemErrorCode(error.cause) === "ENOENT") return null;
		throw error;
	});
	if (standing !== note) throw inUse(root, null);
}

/** Make the files that are there ours. @returns whether there were any */
export async function takeMerged(
	{ files, self }: Place,
	root: string,
	entries: Entries,
): Promise<boolean> {
	const [first, second] = entries.filter(({ name }) =>
		name.startsWith("merged."),
	);
	if (first === undefined) return false;
	if (second !== undefined) throw strange(path.join(root, second.name));
	const ours = mergedName(self);
	if (first.name === ours) return true;
	await files.rename(path.join(root, first.name), path.join(root, ours));
	// Before it is published: that rename could otherwise outlive a loss of power alone.
	await syncFolder(files, root);
	return true;
}

export function strange(where: string): OutputConflictError {
	return new OutputConflictError({
		where,
		what: "not a file of this merge, in its staging folder",
		remedy: "Move it away, or delete the staging folder, and run again",
	});
}

export function inUse(
	root: string,
	cause: unknown,
	owner: Owner | null = null,
): OutputConflictError {
	return new OutputConflictError({
		where: root,
		what:
			owner === null
				? "in use by another process"
				: `in use by process ${owner.pid} on ${owner.host}`,
		remedy: `If no merge to this output is running, delete ${OWNER_FILE_NAME} in it and run again`,
		...(cause === null ? {} : { cause }),
	});
}

async function readNote(files: FileSystem, file: string): Promise<string> {
	const opened = await OutputFile.open(files, file);
	try {
		const byteLength = await opened.byteLength();
		const bytes = Buffer.alloc(Math.min(byteLength, MAX_OWNER_BYTES));
		await opened.read(0, bytes);
		return bytes.toString("utf8");
	} finally {
		await opened.abandon();
	}
}
