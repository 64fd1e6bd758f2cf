import { fileURLToPath } from "node:url";
import type { CaseTests } from "./collect.ts";

export const TABLE_FILE = fileURLToPath(
	new URL("../../fixtures/CASES.md", import.meta.url),
);

const ROW = /^(\| (\d+) \| .* \| [\d, ]+ \|).*\|$/gm;

/** The numbers of the cases that a table describes, in its order. */
export function describedCases(table: string): number[] {
	return Array.from(table.matchAll(ROW), ([, , number]) => Number(number));
}

/** The same table with what the suite holds in its last column. */
export function fillTable(table: string, tests: CaseTests): string {
	return table.replace(
		ROW,
		(_, row: string, number: string) =>
			`${row} ${cell(Number(number), tests)} |`,
	);
}

function cell(number: number, tests: CaseTests): string {
	return Array.from(
		tests.get(number) ?? [],
		([file, count]) =>
			`[${file.replace(/\.test\.ts$/, "")}](../test/${file}) ${count}`,
	).join(", ");
}
