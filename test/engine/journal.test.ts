import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
	type Claim,
	encodeClaim,
	firstSeal,
	parseJournal,
} from "../../src/engine/journal.ts";

const PLAN = '{"planId":"1"}\n';

const CLAIMS: readonly Claim[] = [
	claim(0, 4096),
	{
		...claim(1, 8192),
		counts: {
			nonFinite: [{ tensor: "a\nb", counts: { nonFinite: 3, overflowed: 1 } }],
			unrestored: [{ tensor: "é", counts: { elements: 2, maxUlp: 2 ** 60 } }],
			sums: [
				{ tensor: "s", sum: 0.1 + 0.2 },
				{ tensor: "t", sum: Number.NEGATIVE_INFINITY },
				{ tensor: "u", sum: Number.NaN },
			],
		},
	},
	claim(0, 12_288),
];

function claim(shardIndex: number, byteLength: number): Claim {
	const sha256 = createHash("sha256").update(`${byteLength}`).digest("hex");
	const counts = { nonFinite: [], unrestored: [], sums: [] };
	return { shardIndex, byteLength, sha256, counts };
}

function encode(claims: readonly Claim[]): Buffer {
	let seal = firstSeal(PLAN);
	let text = "";
	for (const each of claims) {
		const encoded = encodeClaim(seal, each);
		seal = encoded.seal;
		text += encoded.record;
	}
	return Buffer.from(text);
}

/** Records with these texts, sealed as a program does that says other things. */
function seal(...texts: string[]): Buffer {
	let before = firstSeal(PLAN);
	return Buffer.from(
		texts
			.map((text) => {
				before = createHash("sha256").update(before).update(text).digest("hex");
				return `${before} ${text}\n`;
			})
			.join(""),
	);
}

test("claims come back as they were, sums that are no numbers too", () => {
	const journal = parseJournal(encode(CLAIMS), PLAN);
	expect(journal.claims).toEqual(CLAIMS);
	const { record, seal } = encodeClaim(journal.seal, claim(2, 5));
	const longer = Buffer.concat([encode(CLAIMS), Buffer.from(record)]);
	expect(parseJournal(longer, PLAN)).toEqual({
		...{ claims: [...CLAIMS, claim(2, 5)], seal },
	});
});

test("case 161: a journal of another plan says nothing", () => {
	expect(parseJournal(encode(CLAIMS), `${PLAN} `).claims).toEqual([]);
});

test("case 161: with any byte changed, what is before its record holds, and nothing behind", () => {
	const bytes = encode(CLAIMS);
	const ends = CLAIMS.map((_, i) => encode(CLAIMS.slice(0, i + 1)).length);
	for (let at = 0; at < bytes.length; at++)
		for (const flip of [1, 0x80]) {
			const changed = Buffer.from(bytes);
			changed[at] = (changed[at] as number) ^ flip;
			const whole = ends.filter((end) => end <= at).length;
			expect(parseJournal(changed, PLAN).claims).toEqual(
				CLAIMS.slice(0, whole),
			);
		}
});

test("case 160: cut at any byte, and with zeros or rubbish from there on, it is what is before", () => {
	const bytes = encode(CLAIMS);
	const ends = CLAIMS.map((_, i) => encode(CLAIMS.slice(0, i + 1)).length);
	for (let at = 0; at <= bytes.length; at++) {
		const whole = CLAIMS.slice(0, ends.filter((end) => end <= at).length);
		const head = bytes.subarray(0, at);
		const tails = ["", "\0".repeat(600), "\n\n", "x".repeat(65), "\n{}\n"];
		for (const tail of tails) {
			const torn = Buffer.concat([head, Buffer.from(tail)]);
			const isMended = tail.startsWith("\n") && ends.includes(at + 1);
			const holds = isMended ? CLAIMS.slice(0, whole.length + 1) : whole;
			expect(parseJournal(torn, PLAN).claims).toEqual(holds);
		}
	}
});

test("records are neither left out nor moved", () => {
	const lines = encode(CLAIMS)
		.toString("utf8")
		.split(/(?<=\n)/);
	const [a, b, c] = lines as [string, string, string];
	for (const [text, whole] of [
		[b + c, 0],
		[a + c, 1],
		[b + a + c, 0],
		[a + a + b + c, 1],
	] as const)
		expect(parseJournal(Buffer.from(text), PLAN).claims).toEqual(
			CLAIMS.slice(0, whole),
		);
});

describe("a record that is sealed and says what no claim does ends the journal", () => {
	const good = JSON.parse(JSON.stringify(claim(0, 1)));
	const counts = (change: object) => ({
		...{ ...good, counts: { ...good.counts, ...change } },
	});
	test.each([
		["no JSON", "{"],
		["null", null],
		["a number", 1],
		["no counts", { ...good, counts: null }],
		["a shard below none", { ...good, shardIndex: -1 }],
		["a part of a byte", { ...good, byteLength: 0.5 }],
		["no length", { ...good, byteLength: "1" }],
		["no checksum", { ...good, sha256: 1 }],
		["a short checksum", { ...good, sha256: "ab" }],
		["no list", counts({ nonFinite: {} })],
		["no entry", counts({ nonFinite: [null] })],
		["no tensor", counts({ nonFinite: [{ counts: {} }] })],
		["no count", counts({ nonFinite: [{ tensor: "t" }] })],
		[
			"half a count",
			counts({ nonFinite: [{ tensor: "t", counts: { nonFinite: 1 } }] }),
		],
		["no unrestored", counts({ unrestored: 1 })],
		["no sum", counts({ sums: [{ tensor: "t" }] })],
	])("%s", (_, value) => {
		const text = typeof value === "string" ? value : JSON.stringify(value);
		const first = JSON.stringify(good);
		expect(parseJournal(seal(first, text, first), PLAN).claims).toEqual([good]);
	});
});

test("no bytes make it fail", () => {
	const sealed = fc.array(fc.json(), { maxLength: 5 });
	const rounds = { numRuns: 2000, seed: 1 };
	fc.assert(
		fc.property(sealed, fc.uint8Array({ maxLength: 200 }), (texts, tail) => {
			const lines = texts.map((text) => text.replaceAll("\n", ""));
			const bytes = Buffer.concat([seal(...lines), tail]);
			parseJournal(bytes, PLAN);
		}),
		rounds,
	);
});
