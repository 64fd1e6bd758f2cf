import type { Staging } from "../io/staging.ts";
import type { JournalFile } from "./journal-file.ts";
import type { Reused } from "./resume.ts";

/** What a run stands on: where it writes, where it says what is safe, and what an earlier one has left. */
export interface Ground {
	staging: Staging;
	journal: JournalFile;
	reused: Reused;
}
