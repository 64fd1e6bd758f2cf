import path from "node:path";
import { type MergePlan, planId } from "../delta/plan.ts";
import {
	CHECKSUM_FILE_NAME,
	parseChecksumFile,
} from "../format/checksum-file.ts";
import type { FileSystem } from "../io/file-system.ts";
import { listIfThere } from "../io/folders.ts";
import { OutputFile } from "../io/output-file.ts";
import { digestStretch } from "./digest-stretch.ts";
import type { Engine } from "./engine.ts";
import { MANIFEST_FILE_NAME, type Manifest } from "./manifest.ts";
import { outputNames } from "./write-output.ts";

/**
 * Look whether a folder is the whole output of a plan, with every byte as its checksums say: what a run has
 * published that ended before it could say so.
 *
 * @returns what it tells of itself, or null where it is anything else
 */
export async function findPublished(
	plan: MergePlan,
	files: FileSystem,
	folder: string,
	engine: Engine,
): Promise<Manifest | null> {
	const names = outputNames(plan);
	const entries = (await listIfThere(files, folder)) ?? [];
	const isOurs = entries.every(({ name, isFolder }) => {
		return names.has(name) && !isFolder;
	});
	if (!isOurs || entries.length !== names.size) return null;
	const openFile = (name: string) =>
		OutputFile.open(files, path.join(folder, name));
	const manifest = parseManifest(
		await readText(await openFile(MANIFEST_FILE_NAME)),
	);
	if (manifest?.planId !== planId(plan)) return null;
	const sums = parseSums(await readText(await openFile(CHECKSUM_FILE_NAME)));
	names.delete(CHECKSUM_FILE_NAME);
	for (const name of names) {
		const expected = sums.get(name);
		if ((await hash(engine, await openFile(name))) !== expected) return null;
	}
	return manifest;
}

function parseManifest(text: string): Manifest | null {
	try {
		return JSON.parse(text);
	} catch {
		return null;
	}
}

function parseSums(text: string): ReadonlyMap<string, string> {
	try {
		const { entries } = parseChecksumFile(text, CHECKSUM_FILE_NAME);
		return new Map(entries.map(({ name, checksum }) => [name, checksum]));
	} catch {
		return new Map();
	}
}

async function readText(file: OutputFile): Promise<string> {
	try {
		const bytes = Buffer.alloc(await file.byteLength());
		await file.read(0, bytes);
		return bytes.toString("utf8");
	} finally {
		await file.abandon();
	}
}

async function hash(engine: Engine, file: OutputFile): Promise<string> {
	try {
		const whole = { fileOffset: 0, byteLength: await file.byteLength() };
		return await digestStretch(engine, file, whole, file.path);
	} finally {
		await file.abandon();
	}
}
