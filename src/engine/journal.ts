import { createHash } from "node:crypto";
import type { Counts } from "./tally.ts";

/**
 * A claim: the first `byteLength` bytes of an output shard are durable, with this SHA-256. `counts` are those of
 * what lies between the shard's claim before and this one.
 */
export interface Claim {
	shardIndex: number;
	byteLength: number;
	/** in hex */
	sha256: string;
	counts: Counts;
}

/** The part of a journal that can be relied on. */
export interface Journal {
	claims: Claim[];
	/** what a record behind them hangs on */
	seal: string;
}

/**
 * What the first record of a journal hangs on. A record is a line, `<seal> <claim as JSON>`; its seal is the SHA-256
 * of the seal before and of the claim, so that no record can be changed, left out, moved or cut short unseen.
 *
 * @param planText  of the staging folder's `plan.json`
 */
export function firstSeal(planText: string): string {
	return createHash("sha256").update(planText).digest("hex");
}

/** @returns the record, and its seal for the one behind it */
export function encodeClaim(
	before: string,
	claim: Claim,
): { record: string; seal: string } {
	const text = JSON.stringify(claim, (_, value) =>
		typeof value === "number" && !Number.isFinite(value)
			? String(value) // a sum may be infinite, or none at all
			: value,
	);
	const seal = nextSeal(before, text);
	return { record: `${seal} ${text}\n`, seal };
}

/**
 * Read as many claims as hang together. What is behind the first that does not is never looked at: a file may
 * end in the middle of a record, in zeros, or in what lay on the disk before.
 */
export function parseJournal(bytes: Uint8Array, planText: string): Journal {
	const journal: Journal = { claims: [], seal: firstSeal(planText) };
	for (let at = 0; ; ) {
		const end = bytes.indexOf(NEWLINE, at);
		if (end < 0) return journal;
		const line = Buffer.from(bytes.subarray(at, end)).toString("utf8");
		const text = line.slice(SEAL_LENGTH + 1);
		const seal = nextSeal(journal.seal, text);
		const claim = line === `${seal} ${text}` ? parseClaim(text) : null;
		if (claim === null) return journal;
		journal.claims.push(claim);
		journal.seal = seal;
		at = end + 1;
	}
}

const NEWLINE = 0x0a;
const SEAL_LENGTH = 64;

function nextSeal(before: string, text: string): string {
	return createHash("sha256").update(before).update(text).digest("hex");
}

/** @returns null where a record is whole but says what no claim of ours does */
function parseClaim(text: string): Claim | null {
	let value: unknown;
	try {
		value = JSON.parse(text);
	} catch {
		return null;
	}
	if (!isRecord(value) || !isRecord(value.counts)) return null;
	const { shardIndex, byteLength, sha256, counts } = value;
	const { nonFinite, unrestored, sums } = counts;
	if (!isCount(shardIndex) || !isCount(byteLength)) return null;
	if (typeof sha256 !== "string" || !/^[0-9a-f]{64}$/.test(sha256)) return null;
	if (!isList(nonFinite, isCounted("nonFinite", "overflowed"))) return null;
	if (!isList(unrestored, isCounted("elements", "maxUlp"))) return null;
	if (!isList(sums, ({ sum }) => /^(number|string)$/.test(typeof sum)))
		return null;
	return {
		...{ shardIndex, byteLength, sha256 },
		counts: {
			nonFinite: nonFinite as Counts["nonFinite"],
			unrestored: unrestored as Counts["unrestored"],
			sums: (sums as { tensor: string; sum: number | string }[]).map(
				({ tensor, sum }) => ({ tensor, sum: Number(sum) }),
			),
		},
	};
}

type Fields = Record<string, unknown>;

function isRecord(value: unknown): value is Fields {
	return typeof value === "object" && value !== null;
}

function isCount(value: unknown): value is number {
	return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isList(value: unknown, holds: (entry: Fields) => boolean): boolean {
	return (
		Array.isArray(value) &&
		value.every(
			(entry) =>
				isRecord(entry) && typeof entry.tensor === "string" && holds(entry),
		)
	);
}

function isCounted(...names: readonly string[]) {
	return ({ counts }: Fields): boolean =>
		isRecord(counts) && names.every((name) => typeof counts[name] === "number");
}
