import type { OutputShard } from "../delta/plan.ts";
import type { OutputFile, WrittenFile } from "../io/output-file.ts";
import type { StagedFile, Staging } from "../io/staging.ts";
import type { Digest } from "./digest.ts";
import { hashStretch } from "./digest-stretch.ts";
import type { Engine } from "./engine.ts";
import type { Claim } from "./journal.ts";
import type { OpenShard } from "./lane.ts";

/** What an earlier run has left of a plan's shards, and what of it is as was claimed. */
export interface Reused {
	/** whole shards, by their index */
	whole: Map<number, WrittenFile>;
	/** shards to go on with, by their index. Must be closed */
	begun: Map<number, OpenShard>;
	/** those that hold, in their order */
	claims: readonly Claim[];
	/** of all shards */
	byteLength: number;
}

export const NOTHING_REUSED: Reused = {
	...{ whole: new Map(), begun: new Map(), claims: [], byteLength: 0 },
};

/**
 * Read again all that was claimed, and compare. What else is there is deleted, because it is made anew.
 *
 * @param staged  the files of the output that are there
 * @param claims  as the journal has them
 */
export async function checkClaims(
	shards: readonly OutputShard[],
	staged: readonly StagedFile[],
	claims: readonly Claim[],
	staging: Staging,
	engine: Engine,
): Promise<Reused> {
	const [whole, begun] = [new Map(), new Map<number, OpenShard>()];
	const held = new Set<Claim>();
	const checker = new Checker(staging, engine);
	const remaining = shards.entries();
	const checkInTurn = async () => {
		for (const [shardIndex, shard] of remaining) {
			const ours = claims.filter((claim) => claim.shardIndex === shardIndex);
			for (const file of staged.filter(isOf(shard))) {
				const isNeeded = !whole.has(shardIndex) && !begun.has(shardIndex);
				const checked =
					isNeeded && (await checker.check(file, shardIndex, shard, ours));
				if (!checked) await staging.remove(file);
				else if (checked.begun) begun.set(shardIndex, checked.begun);
				else whole.set(shardIndex, checked.whole);
				if (checked) for (const claim of checked.claims) held.add(claim);
			}
		}
	};
	const atOnce = Math.max(engine.crew.threads, 1);
	const turns = Array.from({ length: atOnce }, checkInTurn);
	await Promise.allSettled(turns);
	try {
		await Promise.all(turns);
		for (const file of staged)
			if (!shards.some((shard) => isOf(shard)(file)))
				await staging.remove(file);
	} catch (error) {
		for (const { file } of begun.values()) await file.abandon();
		throw error;
	}
	const kept = claims.filter((claim) => held.has(claim));
	return { whole, begun, claims: kept, byteLength: coveredBytes(kept) };
}

/** How many bytes of all shards some claims cover. */
export function coveredBytes(claims: readonly Claim[]): number {
	const ends = new Map(
		claims.map((each) => [each.shardIndex, each.byteLength]),
	);
	return [...ends.values()].reduce((sum, byteLength) => sum + byteLength, 0);
}

function isOf({ fileName }: OutputShard): (file: StagedFile) => boolean {
	return (file) => file.fileName === fileName;
}

type Checked = { claims: readonly Claim[] } & (
	| { whole: WrittenFile; begun?: undefined }
	| { begun: OpenShard }
);

class Checker {
	private readonly staging: Staging;
	private readonly engine: Engine;

	constructor(staging: Staging, engine: Engine) {
		this.staging = staging;
		this.engine = engine;
	}

	/** @returns null where nothing of the file can be used */
	async check(
		staged: StagedFile,
		shardIndex: number,
		shard: OutputShard,
		claims: readonly Claim[],
	): Promise<Checked | null> {
		const { directIo } = this.engine.options;
		const file = await this.staging.open(staged, directIo);
		let isKept = false;
		try {
			const { digest, held } = await this.compare(file, claims);
			const { byteLength = -1, sha256 = "" } = held.at(-1) ?? {};
			const { fileName } = shard;
			if (byteLength === shard.byteLength) {
				await digest.finish();
				await this.settle(staged, file, byteLength);
				return { claims: held, whole: { fileName, byteLength, sha256 } };
			}
			if (held.length === 0) return null;
			// It was whole before that could be claimed.
			if (staged.isWhole) await this.staging.reopen(fileName);
			await file.truncate(byteLength);
			await file.preallocate(shard.byteLength);
			isKept = true;
			const begun = { shardIndex, shard, file, digest, fileOffset: byteLength };
			return { claims: held, begun };
		} finally {
			if (!isKept) await file.abandon();
		}
	}

	/** The claims up to the first that does not hold, and the digest of what they cover. */
	private async compare(
		file: OutputFile,
		claims: readonly Claim[],
	): Promise<{ digest: Digest; held: readonly Claim[] }> {
		const there = await file.byteLength();
		const digest = this.engine.openDigest();
		let hashed = 0;
		for (const [i, { byteLength, sha256 }] of claims.entries()) {
			if (byteLength >= hashed && byteLength <= there) {
				const stretch = {
					...{ fileOffset: hashed, byteLength: byteLength - hashed },
				};
				await hashStretch(this.engine, digest, file, stretch, file.path);
				hashed = byteLength;
				if ((await digest.peek()) === sha256) continue;
			}
			const held = claims.slice(0, i);
			if (hashed === (held.at(-1)?.byteLength ?? 0)) return { digest, held };
			await digest.finish(); // what was hashed beyond cannot be taken back
			return this.compare(file, held);
		}
		return { digest, held: claims };
	}

	/** See that a whole shard has its length and name. */
	private async settle(
		{ fileName, isWhole }: StagedFile,
		file: OutputFile,
		byteLength: number,
	): Promise<void> {
		if ((await file.byteLength()) > byteLength) {
			await file.truncate(byteLength);
			await file.sync();
		}
		if (!isWhole) await this.staging.complete(fileName);
	}
}
