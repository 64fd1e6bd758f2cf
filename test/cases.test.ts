import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { casesOf, collectCases } from "./cases/collect.ts";
import { describedCases, fillTable, TABLE_FILE } from "./cases/table.ts";

const ALL = Array.from({ length: 220 }, (_, i) => i + 1);

// Elsewhere some tests are skipped, and so not listed.
test.runIf(process.platform === "linux")(
	"every case has a test, and the table tells which",
	async () => {
		const table = await readFile(TABLE_FILE, "utf8");
		expect(describedCases(table)).toEqual(ALL);
		const tests = await collectCases();
		expect(ALL.filter((number) => !tests.has(number))).toEqual([]);
		expect(fillTable(table, tests), "npm run cases").toBe(table);
	},
	120_000,
);

test("a test's name says which cases it proves", () => {
	expect(casesOf("folders > case 12: white space")).toEqual([12]);
	expect(casesOf("cases 12, 130: two at once")).toEqual([12, 130]);
	expect(casesOf("case 1 '001-empty-file' ends with 3")).toEqual([1]);
	expect(casesOf("in case 3 fail")).toEqual([]);
});
