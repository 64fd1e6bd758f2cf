import { readFile } from "node:fs/promises";
import path from "node:path";
import { expect, test } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/open-checkpoint.ts";
import { FormatError } from "../../src/errors.ts";
import { FIXTURES } from "../end-to-end/run.ts";

const CORPUS = path.join(FIXTURES, "invalid");

test("what is malformed is refused when it is opened, or when all of it is read", async () => {
	const cases: { folder: string; exit: number }[] = JSON.parse(
		await readFile(path.join(CORPUS, "cases.json"), "utf8"),
	);
	for (const { folder, exit } of cases) {
		const failure = await openCheckpoint(path.join(CORPUS, folder)).then(
			(checkpoint) => checkpoint.close(),
			(error: unknown) => error,
		);
		// The CRCs of weights are taken while a merge reads them.
		if (
			folder.startsWith("082-crc-of-data-0") ||
			folder.startsWith("083-crc-off-for")
		)
			expect(exit, folder).toBe(3);
		else if (exit === 3) expect(failure, folder).toBeInstanceOf(FormatError);
		else expect(failure, folder).toBeUndefined();
	}
	expect(cases.length).toBeGreaterThan(700);
}, 60_000);
