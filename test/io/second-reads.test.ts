import { expect, test } from "vitest";
import { SecondReads } from "../../src/io/second-reads.ts";

const MiB = 2 ** 20;

/** @param reads  such as "0-8", in MiB. @returns after each the stretches that were read twice by then */
function tell(fileMiB: number, reads: readonly string[]): string[] {
	const stretches: string[] = [];
	const seconds = new SecondReads(fileMiB * MiB, (at, length) =>
		stretches.push(`${at / MiB}-${(at + length) / MiB}`),
	);
	return reads.map((read) => {
		stretches.length = 0;
		const [begin = 0, end = 0] = read.split("-").map(Number);
		seconds.read(begin * MiB, (end - begin) * MiB);
		return stretches.join(" ");
	});
}

test.each([
	["after the second read, and not again", 8, "0-8 0-8 0-8", ["", "0-8", ""]],
	["in whole blocks", 8, "0-8 1-5 0-1 5-7", ["", "2-4", "0-2", "4-6"]],
	[
		...(["apart where one between them was read once", 8] as const),
		...(["0-2 4-8 0-8 2-4", ["", "", "0-2 4-8", "2-4"]] as const),
	],
	["whatever the order", 4, "3-4 0-3 2-4 0-2", ["", "", "2-4", "0-2"]],
	["up to the end of the file", 5, "4-6 4-5 0-4", ["", "4-5", ""]],
] as const)("blocks are told %s", (_, fileMiB, reads, expected) => {
	expect(tell(fileMiB, reads.split(" "))).toEqual(expected);
});
