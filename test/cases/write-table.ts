/** Write what the suite holds into `fixtures/CASES.md`: `npm run cases`. */
import { readFile, writeFile } from "node:fs/promises";
import { collectCases } from "./collect.ts";
import { fillTable, TABLE_FILE } from "./table.ts";

const table = await readFile(TABLE_FILE, "utf8");
const tests = await collectCases();
await writeFile(TABLE_FILE, fillTable(table, tests));
console.log(`${tests.size} cases have tests`);
