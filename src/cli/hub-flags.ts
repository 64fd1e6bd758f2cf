import type { FetchChoices } from "../index.ts";
import type { Terminal } from "./terminal.ts";

/** The flags of every command that may read from the Hub. */
export interface HubFlags {
	cacheDir?: string | undefined;
	offline?: boolean | undefined;
}

export function hubChoices(
	{ cacheDir, offline }: HubFlags,
	terminal: Terminal,
): Pick<FetchChoices, "hub"> {
	const onNotice = (notice: string) => terminal.warn(notice);
	return { hub: { cacheDir, offline, onNotice } };
}
