import {
	apply,
	type Change,
	type Nodes,
	Pending,
	type Survival,
} from "./disk.ts";
import type { Event } from "./sim-fs.ts";

/** What a crash did: the disk it left, and how many bytes were said to be safe before. */
export interface Crash {
	nodes: Nodes;
	/** nothing that was not synced has survived */
	isBare: boolean;
	safeBytes: number;
}

/** Marks in a run's events: from this one on so much was said to be safe. */
export type SafeMarks = { event: number; safeBytes: number }[];

/** A source of numbers that gives the same each time. */
export function random(seed: number): (below: number) => number {
	let state = seed >>> 0;
	return (below) => {
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
		return Math.floor((state / 2 ** 32) * below);
	};
}

type Fate = (change: Change, index: number, count: number) => Survival;

/** What is always tried: each is a way in which disks and file systems have been seen to fail. */
const FATES: readonly { name: string; fate: Fate }[] = [
	{ name: "nothing unsynced survives", fate: () => "nothing" },
	{ name: "all survives", fate: () => "all" },
	{
		name: "names are lost",
		fate: ({ kind }) => (kind === "entries" ? "nothing" : "all"),
	},
	{
		name: "names survive, bytes do not",
		fate: ({ kind }) => (kind === "entries" ? "all" : "nothing"),
	},
	{
		name: "files are as long as they were, and zero",
		fate: ({ kind }) => (kind === "write" ? "zeros" : "all"),
	},
	{
		name: "the last is torn",
		fate: ({ kind }, index, count) =>
			kind === "write" && index === count - 1 ? { sectors: TORN[0] } : "all",
	},
	{
		name: "the later half survives without the earlier",
		fate: (_, index, count) => (index * 2 >= count ? "all" : "nothing"),
	},
];

/** Which sectors of a write survive, as bits. */
const TORN = [0x15555555, 0x0000000f, 0x3ffffffe] as const;

function randomFate(pick: (below: number) => number): Fate {
	return ({ kind }) => {
		const kinds = kind === "write" ? 5 : 2;
		const chosen = pick(kinds);
		if (chosen === 0 || chosen === 4) return "nothing";
		if (chosen === 1) return "all";
		return chosen === 2 ? "zeros" : { sectors: TORN[pick(TORN.length)] ?? 0 };
	};
}

/** Which crashes of a run are looked at: all events, each with all that is always tried, unless told otherwise. */
export interface Choice {
	/** how many more, by chance, at each event; default none */
	draws?: number;
	seed?: number;
	/** whether to look at an event; default: at all */
	at?: (event: number) => boolean;
	/** whether to look at one of what is always tried; default: at all */
	fate?: (index: number) => boolean;
}

/** The crashes of a run that began with a disk, after each of its events. */
export function* crashesOf(
	before: Nodes,
	events: readonly Event[],
	marks: SafeMarks,
	{ draws = 0, seed = 1, at: isWanted, fate: isTried }: Choice = {},
): Generator<Crash> {
	const durable: Nodes = new Map(before);
	const pending = new Pending();
	const pick = random(seed);
	for (let at = 0; at <= events.length; at++) {
		if (isWanted?.(at) ?? true) {
			const { changes } = pending;
			const safeBytes =
				marks.findLast(({ event }) => event <= at)?.safeBytes ?? 0;
			const fates = FATES.map(({ fate }, i) => ({ fate, isBare: i === 0 }));
			const tried = fates.filter((_, i) => isTried?.(i) ?? true);
			for (let i = 0; i < draws && changes.length > 0; i++)
				tried.push({ fate: randomFate(pick), isBare: false });
			for (const { fate, isBare } of tried) {
				const nodes = new Map(durable);
				for (const [j, change] of changes.entries())
					apply(nodes, change, fate(change, j, changes.length));
				yield { nodes, isBare, safeBytes };
			}
		}
		const event = events[at];
		if (event?.kind === "sync")
			for (const change of pending.settle(event.node))
				apply(durable, change, "all");
		else if (event) pending.add(event);
	}
}
