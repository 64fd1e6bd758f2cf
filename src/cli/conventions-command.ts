import {
	CONVENTIONS,
	type ConventionId,
	type ConventionRow,
	describeConvention,
} from "../index.ts";
import { formatTable } from "./format.ts";
import type { Terminal } from "./terminal.ts";

const LABELS: Record<keyof ConventionRow, string> = {
	casts: "casts",
	result: "result",
	growth: "new rows of the base",
	over: "over the tensors of",
	asTheyAre: "the delta's as they are",
	config: "config from",
	tokenizer: "tokenizer from",
	publishedBy: "published by",
};

/** Tell what each convention means, or all of one. */
export async function conventionsCommand(
	id: ConventionId | undefined,
	terminal: Terminal,
): Promise<number> {
	const ids = id === undefined ? Object.keys(CONVENTIONS) : [id];
	const entries = ids.map((each) => {
		const convention = CONVENTIONS[each as ConventionId];
		const { summary } = convention;
		return { id: each, summary, ...describeConvention(convention) };
	});
	if (id === undefined) {
		const rows = entries.map(({ id, summary }) => [id, summary]);
		for (const row of formatTable(rows)) terminal.result(row);
		terminal.note("all of one: merge-delta conventions <id>");
	} else
		for (const entry of entries) {
			terminal.result(`${terminal.paint("bold", entry.id)} ${entry.summary}`);
			const rows = Object.entries(LABELS).map(([key, label]) => [
				`  ${label}`,
				entry[key as keyof ConventionRow],
			]);
			for (const row of formatTable(rows)) terminal.result(row);
		}
	terminal.document({ ok: true, conventions: entries });
	return 0;
}
