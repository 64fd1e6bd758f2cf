import { createReadStream } from "node:fs";
import path from "node:path";
import type { ReadingChoices } from "./engine/engine.ts";
import { throwIfAborted, UsageError, VerificationError } from "./errors.ts";
import {
	type CachedBlob,
	type CachedRepository,
	listCache,
} from "./hub/cache-contents.ts";
import { hashOf } from "./hub/partial.ts";
import { readHubSettings } from "./hub/settings.ts";
import { systemErrorCode } from "./io/system-error.ts";
import { type VerifiedFile, verifyFiles } from "./verify-files.ts";

export interface CacheOptions {
	/** default: the one that is shared with the Python client */
	cacheDir?: string | undefined;
	/** `org/name`; default: all */
	repo?: string | undefined;
}

export interface CacheReport {
	cacheDir: string;
	repositories: CachedRepository[];
	byteLength: number;
}

/**
 * Tell what the cache of the Hub holds. Opens no socket.
 *
 * @throws {UsageError} where it does not hold `repo`
 * @throws {LocalIoError}
 */
export async function cache(options: CacheOptions = {}): Promise<CacheReport> {
	const { cacheDir, repo } = options;
	const settings = await readHubSettings({ cacheDir, token: null });
	const all = await listCache(settings);
	const repositories =
		repo === undefined
			? all
			: all.filter(({ repository }) => repository === repo);
	if (repo !== undefined && repositories.length === 0)
		throw new UsageError({
			where: repo,
			what: `not in the cache ${settings.cacheDir}`,
			remedy: "See merge-delta cache",
		});
	const byteLength = repositories.reduce((sum, r) => sum + r.byteLength, 0);
	return { cacheDir: settings.cacheDir, repositories, byteLength };
}

export interface CacheVerifyOptions extends CacheOptions, ReadingChoices {
	onFile?: ((file: VerifiedBlob) => void) | undefined;
}

/** A content of the cache, or a path of a snapshot that leads to none. */
export interface VerifiedBlob extends VerifiedFile {
	repository: string;
	/** the blob; for what is missing, the path in the snapshot */
	file: string;
}

export interface CacheVerifyReport {
	cacheDir: string;
	/** true only if every blob was hashed and bears its name, and every snapshot has all its blobs */
	ok: boolean;
	files: VerifiedBlob[];
	warnings: string[];
}

/**
 * Check every blob of the cache against its name, which is its checksum. Opens no socket.
 *
 * @throws {VerificationError} where there is nothing to verify
 * @throws {UsageError} where the cache does not hold `repo`
 * @throws {LocalIoError} @throws {InterruptedError}
 */
export async function verifyCache(
	options: CacheVerifyOptions = {},
): Promise<CacheVerifyReport> {
	const { cacheDir, repositories } = await cache(options);
	const files: VerifiedBlob[] = [];
	const tell = (file: VerifiedBlob) => {
		files.push(file);
		options.onFile?.(file);
	};
	for (const each of repositories)
		for (const file of missingOf(each)) tell(file);
	const blobs = repositories.flatMap(({ repository, blobs }) =>
		blobs.map((blob) => ({ repository, blob })),
	);
	const small = blobs.filter(({ blob }) => blob.oid.length === 40);
	for (const { repository, blob } of small) {
		throwIfAborted(options.signal, blob.file);
		const found = await gitBlobId(blob);
		const isRight = found === blob.oid;
		const status = found === null ? "UNREADABLE" : isRight ? "OK" : "FAILED";
		tell({ ...labelOf(repository, blob), status, found });
	}
	const large = blobs.filter(({ blob }) => blob.oid.length === 64);
	const entries = large.map(({ blob }) => ({
		name: path.relative(cacheDir, blob.file),
		checksum: blob.oid,
	}));
	let told = 0;
	const { threads, memory, directIo, signal } = options;
	await verifyFiles(
		...([cacheDir, { entries, algorithm: "sha256" }] as const),
		{ threads, memory, directIo, signal },
		({ status, found }) => {
			const next = large[told++];
			if (next !== undefined)
				tell({ ...labelOf(next.repository, next.blob), status, found });
		},
	);
	if (files.length === 0)
		throw new VerificationError({
			where: options.repo ?? cacheDir,
			what: "there is no blob, so nothing was verified",
		});
	const ok = files.every(({ status }) => status === "OK");
	return { cacheDir, ok, files, warnings: repositories.flatMap(warningsOf) };
}

function labelOf(repository: string, { oid, file, paths }: CachedBlob) {
	const fileName = `${repository}/${paths[0] ?? `blobs/${oid}`}`;
	return { repository, file, fileName, expected: oid };
}

function missingOf({
	repository,
	folder,
	snapshots,
}: CachedRepository): VerifiedBlob[] {
	return snapshots.flatMap(({ commit, broken }) =>
		broken.map((name) => ({
			...{ repository, fileName: `${repository}/${name}` },
			file: path.join(folder, "snapshots", commit, name),
			...{ status: "MISSING" as const, expected: "", found: null },
		})),
	);
}

function warningsOf({ repository, snapshots }: CachedRepository): string[] {
	const loose = snapshots.flatMap(({ files }) =>
		files.filter(({ oid }) => oid === null),
	).length;
	return loose === 0
		? []
		: [
				`${repository}: ${loose} files lie in snapshots themselves, under no checksum, and were not verified`,
			];
}

/** @returns null where the blob cannot be read */
async function gitBlobId(blob: CachedBlob): Promise<string | null> {
	const hash = hashOf({ ...blob, isLfs: false });
	try {
		for await (const bytes of createReadStream(blob.file)) hash.update(bytes);
		return hash.digest("hex");
	} catch (error) {
		if (systemErrorCode(error) === null) throw error;
		return null;
	}
}
