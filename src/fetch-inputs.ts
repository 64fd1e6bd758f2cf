import {
	filesBesideWeights,
	neededFiles,
	SOUGHT_FILES,
} from "./checkpoint/needed-files.ts";
import { filesOf, type MergePlan } from "./delta/plan.ts";
import { SpoiltOnItsWay } from "./errors.ts";
import {
	type DownloadOptions,
	downloadFiles,
	FetchTally,
	spaceToFetch,
} from "./hub/download.ts";
import type { HubRepository } from "./hub/hub-repository.ts";
import type { RemoteFile } from "./hub/repository.ts";
import type { DiskNeed } from "./io/disk-space.ts";
import type { FileSource } from "./io/file-source.ts";
import type { FetchChoices, Located } from "./locate.ts";

/** What is to be fetched while a plan is run, in bytes. */
export interface FetchNeeds {
	/** the folder it goes to; null where no input is on the Hub */
	cacheDir: string | null;
	/** of these that come */
	files: number;
	byteLength: number;
	/** of these that come, those that are merged as they do and not stored */
	passingBytes: number;
	/** of what the plan reads and the cache holds already */
	cachedBytes: number;
}

/** Of one repository. */
interface Batch {
	repository: HubRepository;
	files: readonly RemoteFile[];
	isStored: boolean;
}

/** Files of the Hub that a plan reads. */
export class WantedFiles {
	private readonly batches: readonly Batch[];
	/** what is wanted first, by its content */
	private readonly order: ReadonlyMap<string, number>;

	/**
	 * @param sources  the weights that the plan reads; index, config and tokenizer are wanted too
	 * @param noStore  of these inputs nothing is to be stored
	 */
	constructor(
		located: readonly Located[],
		plan: MergePlan,
		sources: readonly (readonly FileSource[])[],
		noStore: ReadonlySet<Located> = new Set(),
	) {
		const used = plan.shards.flatMap(({ segments }) =>
			filesOf(segments, plan.fills),
		);
		const inOrder = [
			...used.map(({ input, shard }) => sources[input]?.[shard]),
			...sources.flat(),
		].flatMap((source) => source?.contentId ?? []);
		this.order = new Map(
			[...new Set(inOrder)].map((contentId, i) => [contentId, i]),
		);
		this.batches = located.flatMap((each) => {
			const { repository } = each;
			if (repository === null) return [];
			const files = wantedOf(repository, this.order);
			return [{ repository, files, isStored: !noStore.has(each) }];
		});
	}

	async needs(): Promise<FetchNeeds> {
		const needs: FetchNeeds = {
			...{ cacheDir: null, files: 0, byteLength: 0 },
			...{ passingBytes: 0, cachedBytes: 0 },
		};
		for (const { repository, files, isStored } of this.batches) {
			const missing = await repository.missingOf(files);
			needs.cacheDir = repository.settings.cacheDir;
			needs.files += missing.length;
			needs.byteLength += bytesOf(missing);
			if (!isStored) needs.passingBytes += bytesOf(missing);
			needs.cachedBytes += bytesOf(files) - bytesOf(missing);
		}
		return needs;
	}

	async diskNeeds(): Promise<DiskNeed[]> {
		const { cacheDir, byteLength, passingBytes } = await this.needs();
		return cacheDir === null
			? []
			: [spaceToFetch(cacheDir, byteLength - passingBytes)];
	}

	/**
	 * Bring them into the cache, in the order the plan wants them: each source is ready as soon as its file is there.
	 * What is not to be stored is ready at once, and comes when it is read.
	 *
	 * @throws {VerificationError} @throws {NetworkError} @throws {LocalIoError} @throws {InterruptedError}
	 */
	async fetch(
		onProgress: FetchChoices["onFetch"],
		signal: AbortSignal,
	): Promise<void> {
		const [first] = this.batches;
		if (first === undefined) return;
		const passing = this.batches.filter(({ isStored }) => !isStored);
		const stored = this.batches.filter(({ isStored }) => isStored);
		const weights = passing.map(({ repository, files }) => ({
			repository,
			files: files.filter(({ oid }) => this.order.has(oid)),
		}));
		const tally = new FetchTally(
			[...stored, ...weights].flatMap(({ files }) => files),
			onProgress,
		);
		for (const { repository, files } of weights)
			repository.letPass(files, (file, bytes) => tally.set(file, bytes));
		await this.store(stored, { tally, signal });
	}

	private async store(
		batches: readonly Batch[],
		options: DownloadOptions,
	): Promise<void> {
		const [first] = batches;
		if (first === undefined) return;
		const owners = new Map<RemoteFile, HubRepository>();
		for (const { repository, files } of batches)
			for (const file of files) owners.set(file, repository);
		const onStored = async (file: RemoteFile) => owners.get(file)?.settle(file);
		try {
			await downloadFiles(
				first.repository.settings,
				[...owners.keys()].sort((a, b) => this.rank(a) - this.rank(b)),
				{ ...options, onStored },
			);
		} catch (error) {
			for (const { repository } of batches) repository.fail(error);
			throw error;
		}
		for (const { repository } of batches)
			await repository.noteRevision(SOUGHT_FILES);
	}

	private rank({ oid }: RemoteFile): number {
		return this.order.get(oid) ?? -1;
	}
}

/** Do work that reads on the Hub, and once more where what it read was spoilt on its way: what is safe then is not made again. */
export async function againIfSpoilt<T>(
	{ hub }: FetchChoices,
	work: () => Promise<T>,
): Promise<T> {
	try {
		return await work();
	} catch (error) {
		if (!(error instanceof SpoiltOnItsWay)) throw error;
		hub?.onNotice?.(`${error.message}; beginning once more`);
		return work();
	}
}

function wantedOf(
	{ files }: HubRepository,
	read: ReadonlyMap<string, number>,
): RemoteFile[] {
	const beside = new Set(filesBesideWeights(neededFiles([...files.keys()])));
	return [...files.values()].filter(
		({ path, oid }) => read.has(oid) || beside.has(path),
	);
}

function bytesOf(files: readonly RemoteFile[]): number {
	return files.reduce((sum, { byteLength }) => sum + byteLength, 0);
}
