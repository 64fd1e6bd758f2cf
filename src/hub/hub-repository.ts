import { type FileSource, openFileSource } from "../io/file-source.ts";
import { RepositoryCache } from "./cache.ts";
import { HubSource } from "./hub-source.ts";
import { describeSubject } from "./refusal.ts";
import {
	DEFAULT_REVISION,
	listRemoteFiles,
	type RemoteFile,
	type Repository,
	resolveCommit,
} from "./repository.ts";
import type { HubSettings } from "./settings.ts";

/** Files of a repository that lie in one folder. */
export interface HubFolder {
	location: string;
	list(): Promise<{ fileNames: string[]; folderNames: string[] }>;
	has(fileName: string): Promise<boolean>;
	open(fileName: string): Promise<FileSource>;
	folder(name: string): HubFolder;
	refuseLinksOut(fileNames: readonly string[]): Promise<void>;
}

/**
 * A repository on the Hub at one commit. Its files are read from the cache as far as they are there, the others where they are
 * until they are fetched. Must be closed.
 */
export class HubRepository {
	readonly name: string;
	/** 40 hex digits */
	readonly commit: string;
	/** `org/name@commit` */
	readonly location: string;
	/** the folder of the cache where its files lie, or will */
	readonly snapshot: string;
	readonly files: ReadonlyMap<string, RemoteFile>;
	readonly settings: HubSettings;
	private readonly revision: string;
	private readonly cache: RepositoryCache;
	private readonly signal: AbortSignal | undefined;
	private readonly sources = new Map<string, HubSource>();
	private isStored = true;

	private constructor(
		settings: HubSettings,
		{ name, revision }: Repository,
		files: readonly RemoteFile[],
		commit: string,
		signal: AbortSignal | undefined,
	) {
		this.settings = settings;
		this.name = name;
		this.revision = revision ?? DEFAULT_REVISION;
		this.commit = commit;
		this.location = describeSubject({ repository: name, revision: commit });
		this.cache = new RepositoryCache(settings, name);
		this.snapshot = this.cache.snapshot(commit);
		this.files = new Map(files.map((file) => [file.path, file]));
		this.signal = signal;
	}

	/**
	 * Ask which commit a revision is, and which files it has.
	 *
	 * @throws {UsageError} where there is no such repository or revision
	 * @throws {NetworkError} @throws {InterruptedError}
	 */
	static async open(
		settings: HubSettings,
		repository: Repository,
		signal?: AbortSignal,
	): Promise<HubRepository> {
		const { name } = repository;
		const commit = await resolveCommit(settings, repository, signal);
		const files = await listRemoteFiles(settings, name, commit, signal);
		return new HubRepository(settings, repository, files, commit, signal);
	}

	/** Its files as a folder of a model, or those of a folder in it. */
	folder(prefix = ""): HubFolder {
		const paths = [...this.files.keys()]
			.filter((path) => path.startsWith(prefix))
			.map((path) => path.slice(prefix.length));
		const folderNames = paths.flatMap(
			(path) => /^(.+?)\//.exec(path)?.[1] ?? [],
		);
		return {
			location: prefix ? `${this.location}, ${prefix}` : this.location,
			list: async () => ({
				fileNames: paths.filter((path) => !path.includes("/")),
				folderNames: [...new Set(folderNames)],
			}),
			has: async (fileName) => this.files.has(prefix + fileName),
			open: (fileName) => this.openFile(prefix + fileName),
			folder: (name) => this.folder(`${prefix}${name}/`),
			refuseLinksOut: async () => {}, // the Hub has none
		};
	}

	/** Open a file: that of the cache, where it is there. */
	async openFile(path: string): Promise<FileSource> {
		const file = this.files.get(path);
		if (file === undefined)
			throw new RangeError(`${this.location}: no ${path}`);
		const cached = await this.cache.find(file);
		if (cached !== null) return openFileSource(cached, file.oid);
		const source =
			this.sources.get(path) ?? new HubSource(this.settings, file, this.signal);
		this.sources.set(path, source);
		if (!this.isStored) source.keepWhole();
		return source;
	}

	/** Those of the files that the cache does not hold. */
	async missingOf(files: readonly RemoteFile[]): Promise<RemoteFile[]> {
		const missing: RemoteFile[] = [];
		for (const file of files)
			if ((await this.cache.find(file)) === null) missing.push(file);
		return missing;
	}

	/** Read a file, which is fetched now, from the cache from now on. */
	async settle(file: RemoteFile): Promise<void> {
		await this.sources.get(file.path)?.settle(this.cache.pointer(file));
	}

	/**
	 * Never fetch its files: those that are not in the cache pass, and others are read whole where they are opened.
	 *
	 * @param onPassed  called with how much of a file has passed
	 */
	letPass(
		files: readonly RemoteFile[],
		onPassed: (file: RemoteFile, byteLength: number) => void,
	): void {
		this.isStored = false;
		for (const file of files) {
			const source = this.sources.get(file.path);
			if (source === undefined)
				onPassed(file, file.byteLength); // it is cached
			else source.letPass((byteLength) => onPassed(file, byteLength));
		}
	}

	/** What is not fetched yet will not be. */
	fail(error: unknown): void {
		for (const source of this.sources.values()) source.fail(error);
	}

	/**
	 * Note which commit the revision is, once all of it is there: offline, it is then found whole.
	 *
	 * @param sought  paths that other readers of a model ask for: which of them are not there is noted for those
	 */
	async noteRevision(sought: readonly string[]): Promise<void> {
		const missing = sought.filter((path) => !this.files.has(path));
		await this.cache.writeMissing(this.commit, missing);
		await this.cache.writeRevision(this.revision, this.commit);
	}

	async close(): Promise<void> {
		for (const source of this.sources.values()) await source.closeLocal();
	}
}
