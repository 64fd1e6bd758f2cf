import { filesBesideWeights, neededFiles } from "./checkpoint/needed-files.ts";
import { filesOf, type MergePlan } from "./delta/plan.ts";
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

	/** what is wanted first, by its content */
	private readonly order: ReadonlyMap<string, number>;

	/** @param sources  the weights that the plan reads; index, config and tokenizer are wanted too */
	constructor(
		located: readonly Located[],
		plan: MergePlan,
		sources: readonly (readonly FileSource[])[],
	) {
		const used = plan.shards.flatMap((shard) => filesOf(shard, plan.fills));
		const inOrder = [
			...used.map(({ input, shard }) => sources[input]?.[shard]),
			...sources.flat(),
		].flatMap((source) => source?.contentId ?? []);
		this.order = new Map(
			[...new Set(inOrder)].map((contentId, i) => [contentId, i]),
		);
		this.batches = located.flatMap(({ repository }) =>
			repository === null
				? []
				: [{ repository, files: wantedOf(repository, this.order) }],
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
	 * Bring them into the cache, in the order the plan wants them. Each source is ready as soon as its file is there.
	 *
	 * @throws {VerificationError} @throws {NetworkError} @throws {LocalIoError} @throws {InterruptedError}
	 */
	async fetch(
		onProgress: FetchChoices["onFetch"],
		signal: AbortSignal,
	): Promise<void> {
		const owners = new Map<RemoteFile, HubRepository>();
		for (const { repository, files } of this.batches)
			for (const file of files) owners.set(file, repository);
		const [first] = this.batches;
		if (first === undefined) return;
		try {
			await downloadFiles(
				first.repository.settings,
				[...owners.keys()].sort((a, b) => this.rank(a) - this.rank(b)),
				{
					...{ signal, onProgress },
					onStored: async (file) => owners.get(file)?.settle(file),
				},
			);
		} catch (error) {
			for (const { repository } of this.batches) repository.fail(error);
			throw error;
		}
		for (const { repository } of this.batches) await repository.noteRevision();
	}

	private rank({ oid }: RemoteFile): number {
		return this.order.get(oid) ?? -1;
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
