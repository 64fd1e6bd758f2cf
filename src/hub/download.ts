import { mkdir } from "node:fs/promises";
import {
	InterruptedError,
	throwIfAborted,
	VerificationError,
} from "../errors.ts";
import { checkSpace, type DiskNeed } from "../io/disk-space.ts";
import { LOCAL_FILES } from "../io/file-system.ts";
import { syncFolder } from "../io/folders.ts";
import { failing } from "../io/system-error.ts";
import { RepositoryCache } from "./cache.ts";
import { PartialBlob } from "./partial.ts";
import { readRange } from "./read-range.ts";
import { describeSubject } from "./refusal.ts";
import type { RemoteFile } from "./repository.ts";
import type { HubSettings } from "./settings.ts";

/** Files on their way at once; each is one stream, so that its length tells how far it is. */
const AT_ONCE = 4;

/** How far a download is. */
export interface DownloadProgress {
	/** `org/name` */
	repository: string;
	/** the file that has just grown */
	path: string;
	fileBytes: number;
	fileTotalBytes: number;
	/** of all files, those that were in the cache included */
	bytes: number;
	totalBytes: number;
}

export interface DownloadOptions {
	signal?: AbortSignal | undefined;
	onProgress?: ((progress: DownloadProgress) => void) | undefined;
	/** counts these files beside others, instead of `onProgress` */
	tally?: FetchTally | undefined;
	/** called with each file once it is in the cache, whether it was fetched or not; its failure ends all */
	onStored?: ((file: RemoteFile) => Promise<void>) | undefined;
}

/**
 * Bring files into the cache, each checked by its checksum, in their order. Small ones come first: they tell soon
 * whether a repository can be read at all.
 *
 * @returns those that were there already
 * @throws {VerificationError} where a file has a wrong checksum, twice
 * @throws {NetworkError} @throws {LocalIoError} @throws {InterruptedError} what was written is used the next time
 */
export async function downloadFiles(
	settings: HubSettings,
	files: readonly RemoteFile[],
	{
		signal,
		onProgress,
		tally = new FetchTally(files, onProgress),
		onStored,
	}: DownloadOptions = {},
): Promise<Set<RemoteFile>> {
	const cached = new Set<RemoteFile>();
	for (const file of files)
		if (await cacheOf(settings, file).holds(file)) {
			cached.add(file);
			tally.set(file, file.byteLength);
			await onStored?.(file);
		}
	const missing = files
		.filter((file) => !cached.has(file))
		.sort((a, b) => Number(a.isLfs) - Number(b.isLfs));
	await makeRoom(settings, missing);
	await eachAtOnce(missing, signal, async (file, signal) => {
		const cache = cacheOf(settings, file);
		if (await cache.holdsBlob(file)) await cache.link(file, false);
		else await oneAtATime(cache, file, settings, tally, signal);
		tally.set(file, file.byteLength);
		await onStored?.(file);
	});
	return cached;
}

function cacheOf(settings: HubSettings, file: RemoteFile): RepositoryCache {
	return new RepositoryCache(settings, file.repository);
}

/** Blobs on their way in this process: two that want the same share it. */
const underWay = new Map<string, Promise<void>>();

async function oneAtATime(
	cache: RepositoryCache,
	file: RemoteFile,
	settings: HubSettings,
	tally: FetchTally,
	signal: AbortSignal,
): Promise<void> {
	const blob = cache.blob(file.oid);
	for (;;) {
		const other = underWay.get(blob);
		if (other === undefined) break;
		await other.catch(() => {}); // its failure may be its caller's own, such as an interruption
		throwIfAborted(signal, file.path);
		if (await cache.holdsBlob(file)) return cache.link(file, false);
	}
	// Where there are no links, whoever made the blob moves it, and nobody may look at it before.
	const work = storeBlob(cache, file, settings, tally, signal).then(() =>
		cache.link(file, true),
	);
	underWay.set(blob, work);
	await work.finally(() => underWay.delete(blob));
}

async function storeBlob(
	cache: RepositoryCache,
	file: RemoteFile,
	settings: HubSettings,
	tally: FetchTally,
	signal: AbortSignal,
): Promise<void> {
	const partial = await PartialBlob.open(cache.blobs, file, signal);
	const where = describeSubject({ ...file, revision: file.commit });
	try {
		for (let isSecond = false; ; isSecond = true) {
			const { byteLength: begin } = partial;
			tally.set(file, begin);
			for await (const bytes of readRange(
				...([settings, file, begin, file.byteLength, signal] as const),
			)) {
				await partial.write(bytes);
				tally.set(file, partial.byteLength);
			}
			const found = partial.wrongDigest();
			if (found === null) break;
			await partial.restart();
			if (!isSecond) {
				settings.onNotice(`${where}: wrong checksum, fetching it once more`);
				continue;
			}
			await partial.discard();
			throw new VerificationError({
				...{ where, expected: file.oid, found },
				what: "twice other bytes came than were published",
				remedy: "Is HF_ENDPOINT a mirror, or a proxy in between? Try without",
			});
		}
		await partial.publish(cache.blob(file.oid));
	} finally {
		await partial.close();
	}
	// What fails costs a second fetch at worst, and only after a loss of power.
	await syncFolder(LOCAL_FILES, cache.blobs).catch(() => {});
}

/** Make the folders of what is missing. @throws {LocalIoError} where it will not fit */
async function makeRoom(
	settings: HubSettings,
	missing: readonly RemoteFile[],
): Promise<void> {
	const wanted = new Map<string, number>();
	for (const file of missing) {
		const cache = cacheOf(settings, file);
		await mkdir(cache.blobs, { recursive: true }).catch(
			failing(cache.blobs, "creating"),
		);
		if (await cache.holdsBlob(file)) continue;
		const begun = await PartialBlob.bytesLeft(cache.blobs, file.oid);
		wanted.set(cache.blob(file.oid), Math.max(0, file.byteLength - begun));
	}
	if (missing.length === 0) return;
	const needed = [...wanted.values()].reduce((sum, bytes) => sum + bytes, 0);
	await checkSpace([spaceToFetch(settings.cacheDir, needed)]);
}

/** The room that a cache must have for files that come. */
export function spaceToFetch(folder: string, byteLength: number): DiskNeed {
	const what = "what is to be fetched";
	return { what, folder, flag: "--cache-dir", byteLength };
}

/** What of each file is there, or has passed, and of all. */
export class FetchTally {
	private readonly done = new Map<RemoteFile, number>();
	private readonly totalBytes: number;
	private readonly onProgress: DownloadOptions["onProgress"];
	private bytes = 0;

	constructor(
		files: readonly RemoteFile[],
		onProgress: DownloadOptions["onProgress"],
	) {
		this.totalBytes = files.reduce((sum, file) => sum + file.byteLength, 0);
		this.onProgress = onProgress;
	}

	set(file: RemoteFile, fileBytes: number): void {
		const before = this.done.get(file);
		if (before === fileBytes) return;
		this.done.set(file, fileBytes);
		this.bytes += fileBytes - (before ?? 0);
		const { repository, path, byteLength: fileTotalBytes } = file;
		this.onProgress?.({
			...{ repository, path, fileBytes, fileTotalBytes },
			...{ bytes: this.bytes, totalBytes: this.totalBytes },
		});
	}
}

/** Work on several at once; the first failure stops the others, and is thrown once all have stopped. */
async function eachAtOnce<T>(
	items: readonly T[],
	outer: AbortSignal | undefined,
	work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
	const controller = new AbortController();
	const abort = () => controller.abort();
	outer?.addEventListener("abort", abort);
	if (outer?.aborted) abort();
	const waiting = [...items];
	const failures: unknown[] = [];
	const next = async () => {
		for (;;) {
			const item = waiting.shift();
			if (item === undefined || failures.length > 0) return;
			await work(item, controller.signal).catch((error) => {
				failures.push(error);
				abort();
			});
		}
	};
	await Promise.all(Array.from({ length: AT_ONCE }, next));
	outer?.removeEventListener("abort", abort);
	// Those that were stopped fail too, and perhaps first.
	const [first] = failures;
	const cause = failures.find((error) => !(error instanceof InterruptedError));
	if (failures.length > 0) throw cause ?? first;
}
