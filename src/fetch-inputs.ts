import { filesBesideWeights, neededFiles } from "./checkpoint/needed-files.ts";
import type { DiskNeed } from "./engine/preflight.ts";
import { downloadFiles } from "./hub/download.ts";
import { OtherBytesCame } from "./hub/early-reads.ts";
import type { HubRepository } from "./hub/hub-repository.ts";
import type { RemoteFile } from "./hub/repository.ts";
import type { FileSource } from "./io/file-source.ts";
import type { FetchChoices, Located } from "./locate.ts";

/** What is to be fetched before a plan can run, in bytes. */
export interface FetchNeeds {
	/** the folder it goes to; null where no input is on the Hub */
	cacheDir: string | null;
	files: number;
	byteLength: number;
	/** of what the plan reads and the cache holds already */
	cachedBytes: number;
}

/** Files of the Hub that a plan reads. */
export class WantedFiles {
	private readonly batches: readonly {
		repository: HubRepository;
		files: readonly RemoteFile[];
	}[];

	/** @param sources  the weights that the plan reads; index, config and tokenizer are wanted too */
	constructor(
		located: readonly Located[],
		sources: readonly (readonly FileSource[])[],
	) {
		const read = new Set(sources.flat().map(({ contentId }) => contentId));
		this.batches = located.flatMap(({ repository }) =>
			repository === null
				? []
				: [{ repository, files: wantedOf(repository, read) }],
		);
	}

	async needs(): Promise<FetchNeeds> {
		const needs: FetchNeeds = {
			...{ cacheDir: null, files: 0, byteLength: 0, cachedBytes: 0 },
		};
		for (const { repository, files } of this.batches) {
			const missing = await repository.missingOf(files);
			needs.cacheDir = repository.settings.cacheDir;
			needs.files += missing.length;
			needs.byteLength += bytesOf(missing);
			needs.cachedBytes += bytesOf(files) - bytesOf(missing);
		}
		return needs;
	}

	async diskNeeds(): Promise<DiskNeed[]> {
		const { cacheDir: folder, byteLength } = await this.needs();
		return folder === null
			? []
			: [{ what: "what is to be fetched", folder, byteLength }];
	}

	/**
	 * Bring them into the cache, of several repositories side by side.
	 *
	 * @throws {VerificationError} @throws {NetworkError} @throws {LocalIoError} @throws {InterruptedError}
	 */
	async fetch({ onFetch: onProgress, signal }: FetchChoices): Promise<void> {
		const [first] = this.batches;
		if (first === undefined) return;
		const files = this.batches.flatMap(({ files }) => files);
		await downloadFiles(first.repository.settings, files, {
			...{ signal, onProgress },
		});
		for (const { repository, files } of this.batches) {
			for (const file of files) await repository.settle(file);
			await repository.noteRevision();
		}
	}
}

/**
 * Do work that plans by what it reads on the Hub, and once more where that was spoilt on its way: the files themselves
 * are in the cache by then.
 */
export async function oncePlannedRight<T>(
	{ hub }: FetchChoices,
	work: () => Promise<T>,
): Promise<T> {
	try {
		return await work();
	} catch (error) {
		if (!(error instanceof OtherBytesCame)) throw error;
		hub?.onNotice?.(`${error.message}; planning it once more`);
		return work();
	}
}

function wantedOf(
	{ files }: HubRepository,
	read: ReadonlySet<string | undefined>,
): RemoteFile[] {
	const beside = new Set(filesBesideWeights(neededFiles([...files.keys()])));
	return [...files.values()].filter(
		({ path, oid }) => read.has(oid) || beside.has(path),
	);
}

function bytesOf(files: readonly RemoteFile[]): number {
	return files.reduce((sum, { byteLength }) => sum + byteLength, 0);
}
