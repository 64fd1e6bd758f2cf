import { createHash } from "node:crypto";
import {
	bytesOf,
	type Files,
	gitBlobId,
	openContent,
	type StoredBytes,
	sha256Of,
} from "./stored-bytes.ts";

/** A repository as a test describes it. */
export interface RepoSpec {
	/** what the head of `main` holds */
	files: Files;
	/** which files are in LFS; without it those that are named like weights */
	lfs?: (path: string) => boolean;
	/** seen only with a token that names the repository */
	private?: boolean;
	/** seen by all, read only with a token that names the repository */
	gated?: boolean;
	/** whether LFS files are offered as Xet files too; they are unless this is false */
	xet?: boolean;
	/** what `main` held before, oldest first */
	commits?: readonly Files[];
	/** tags and pull requests (`refs/pr/1`): the number of a commit of `main`, or files of their own */
	refs?: Record<string, number | Files>;
}

/** A file of a commit. */
export interface RepoFile {
	path: string;
	bytes: StoredBytes;
	/** SHA-1 of the git blob: of the file, or of its pointer where it is in LFS */
	blobId: string;
	/** SHA-256, where the file is in LFS */
	lfs?: { sha256: string; pointer: string; xetHash?: string };
	/** the commit that last changed it */
	lastCommit: CommitInfo;
}

export interface CommitInfo {
	id: string;
	title: string;
	date: string;
}

export interface Commit extends CommitInfo {
	files: ReadonlyMap<string, RepoFile>;
}

const WEIGHTS = /\.(safetensors|bin|pt|pth|model|npz|h5|msgpack)$/;
const FIRST_DAY = Date.UTC(2023, 3, 1);
const DAY_MS = 86_400_000;

/** A repository with its history. */
export class Repo {
	readonly name: string;
	readonly spec: RepoSpec;
	private readonly main: Commit[] = [];
	private readonly refs = new Map<string, Commit>();

	private constructor(name: string, spec: RepoSpec) {
		this.name = name;
		this.spec = spec;
	}

	static async create(name: string, spec: RepoSpec): Promise<Repo> {
		const repo = new Repo(name, spec);
		for (const files of spec.commits ?? [])
			await repo.commit(files, `Upload ${Object.keys(files).length} files`);
		await repo.commit(spec.files, "Upload the model");
		// An empty commit, so that no file's last commit is the head of the branch.
		await repo.commit(spec.files, "Update the model card's metadata");
		for (const [ref, target] of Object.entries(spec.refs ?? {})) {
			const commit =
				typeof target === "number"
					? repo.main[target]
					: await repo.makeCommit(target, `Propose ${ref}`, ref);
			if (commit === undefined) throw new Error(`${name}: no commit ${target}`);
			repo.refs.set(ref, commit);
		}
		return repo;
	}

	get head(): Commit {
		const head = this.main.at(-1);
		if (head === undefined) throw new Error(`${this.name} has no commit`);
		return head;
	}

	/** Make these files the head of `main`. */
	async commit(files: Files, title: string): Promise<Commit> {
		const commit = await this.makeCommit(files, title, "main");
		this.main.push(commit);
		return commit;
	}

	/** The commit that a branch, a tag, a pull request or a full id names. */
	find(revision: string): Commit | undefined {
		if (revision === "main" || revision === "HEAD") return this.head;
		const all = [...this.main, ...this.refs.values()];
		return this.refs.get(revision) ?? all.find(({ id }) => id === revision);
	}

	private async makeCommit(
		files: Files,
		title: string,
		branch: string,
	): Promise<Commit> {
		const parent = this.main.at(-1);
		const entries = new Map<string, RepoFile>();
		const info: CommitInfo = {
			id: "",
			title,
			date: new Date(FIRST_DAY + this.main.length * DAY_MS).toISOString(),
		};
		for (const [path, content] of Object.entries(files).sort(byPath)) {
			const file = await this.store(path, await openContent(content), info);
			const before = parent?.files.get(path);
			entries.set(path, before?.blobId === file.blobId ? before : file);
		}
		const tree = [...entries.values()].map((f) => `${f.blobId} ${f.path}\n`);
		info.id = createHash("sha1")
			.update(`${this.name}\n${branch}\n${parent?.id}\n${title}\n`)
			.update(tree.join(""))
			.digest("hex");
		return { ...info, files: entries };
	}

	private async store(
		path: string,
		bytes: StoredBytes,
		lastCommit: CommitInfo,
	): Promise<RepoFile> {
		const inLfs = this.spec.lfs?.(path) ?? WEIGHTS.test(path);
		if (!inLfs)
			return { path, bytes, blobId: await gitBlobId(bytes), lastCommit };
		const sha256 = await sha256Of(bytes);
		const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize ${bytes.byteLength}\n`;
		const xetHash = createHash("sha256").update(`xet ${sha256}`).digest("hex");
		return {
			path,
			bytes,
			blobId: await gitBlobId(bytesOf(pointer)),
			lfs: { sha256, pointer, ...(this.spec.xet !== false && { xetHash }) },
			lastCommit,
		};
	}
}

function byPath([a]: [string, unknown], [b]: [string, unknown]): number {
	return a < b ? -1 : 1;
}
