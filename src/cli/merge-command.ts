import { type MergeOptions, merge, printable } from "../index.ts";
import {
	atRevisions,
	type HubFlags,
	hubChoices,
	type SideRevisions,
} from "./hub-flags.ts";
import { planChoicesOf } from "./options.ts";
import { tellPerformance } from "./performance.ts";
import { showMaking } from "./show-making.ts";
import type { Terminal } from "./terminal.ts";

export async function mergeCommand(
	options: MergeOptions & HubFlags & SideRevisions,
	terminal: Terminal,
	signal: AbortSignal,
): Promise<number> {
	const { base, delta } = await atRevisions(options);
	const { out, allowNonFinite, expect, baseSha256, deltaSha256 } = options;
	const { kernel, threads, memory, directIo, inputSums } = options;
	const { overwrite, resume, keepStaging, syncBytes } = options;
	const {
		manifest,
		resumed,
		warnings,
		performance: used,
	} = await showMaking("merged", terminal, (hooks) =>
		merge({
			...{ base, delta, out },
			...planChoicesOf(options),
			...{ allowNonFinite, expect, baseSha256, deltaSha256 },
			...{ kernel, threads, memory, directIo, inputSums },
			...{ overwrite, resume, keepStaging, syncBytes },
			...hubChoices(options, terminal),
			...hooks,
			signal,
		}),
	);
	terminal.note(
		`convention ${manifest.convention}: ${manifest.sums.join(", ")}`,
	);
	if (terminal.options.verbose) tellPerformance(used, terminal);
	terminal.note(`check it at any time: merge-delta verify ${printable(out)}`);
	terminal.document({
		...{ ok: true, out, manifest, resumed, warnings, performance: used },
	});
	return 0;
}
