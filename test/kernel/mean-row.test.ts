import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { expect, test } from "vitest";
import { MeanRow } from "../../src/kernel/mean-row.ts";
import { FIXTURES } from "../end-to-end/run.ts";

interface Case {
	rows: number;
	columns: number;
	seed: number;
	sha256: string;
	firstBits: number[];
}

const { cases } = JSON.parse(
	await readFile(path.join(FIXTURES, "conventions", "mean-rows.json"), "utf8"),
) as { cases: Case[] };

/** The numbers of the fixture's generator, some rows at once. */
function* rowsOf({ rows, columns, seed }: Case): Generator<Float32Array> {
	let state = seed;
	for (let row = 0; row < rows; row++) {
		const values = new Float32Array(columns);
		for (let i = 0; i < columns; i++) {
			state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
			values[i] = ((state >>> 8) - 2 ** 23) / 2 ** 27;
		}
		yield values;
	}
}

test.each(cases)(
	"the mean of $rows rows of $columns is torch's to the bit",
	(each) => {
		const mean = new MeanRow("F32", each.rows, each.columns);
		for (const row of rowsOf(each)) mean.add(new Uint8Array(row.buffer));
		const bytes = new Uint8Array(mean.finish().buffer);
		const bits = [...new Uint32Array(bytes.buffer, 0, 8)];
		expect(bits).toEqual(each.firstBits);
		const sha256 = createHash("sha256").update(bytes).digest("hex");
		expect(sha256).toBe(each.sha256);
	},
	60_000,
);

test("rows may come in pieces of any number, and all must come", () => {
	const values = Float32Array.from({ length: 70 * 33 }, (_, i) => Math.sin(i));
	const bytes = new Uint8Array(values.buffer);
	const means = [1, 7, 70].map((step) => {
		const mean = new MeanRow("F32", 70, 33);
		for (let at = 0; at < bytes.length; at += step * 132)
			mean.add(bytes.subarray(at, at + step * 132));
		return mean.finish();
	});
	expect(means[1]).toEqual(means[0]);
	expect(means[2]).toEqual(means[0]);
	expect(() => new MeanRow("F32", 70, 33).finish()).toThrow(RangeError);
	expect(() => new MeanRow("F32", 1, 33).add(bytes.subarray(1))).toThrow();
});
