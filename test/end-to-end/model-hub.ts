import path from "node:path";
import { onTestFinished, vi } from "vitest";
import type { LocalHub, LocalHubOptions } from "../hub/local-hub.ts";
import { openHub } from "../hub/open-hub.ts";
import { filesOfFolder } from "../hub/stored-bytes.ts";
import { FIXTURES, memoryFolder } from "./run.ts";

export const LLAMA = path.join(FIXTURES, "llama-f16");
/** Gated. */
export const BASE = "meta/llama";
export const DELTA = "lmsys/vicuna-delta";
export const TARGET = "lmsys/vicuna";
/** Opens the base. */
export const TOKEN = "hf_secret_token";
/** Requests to the store that the hub sends to. */
export const STORE = /^GET http:\/\/localhost/;

/** A hub with the models of a fixture, which the environment names until the test ends. */
export async function modelHub(
	options: Partial<LocalHubOptions> = {},
): Promise<LocalHub> {
	const files = (side: string) => filesOfFolder(path.join(LLAMA, side));
	const hub = await openHub({
		repos: {
			[BASE]: { files: await files("base"), gated: true },
			[DELTA]: { files: await files("delta") },
			[TARGET]: { files: await files("expected") },
		},
		tokens: { [TOKEN]: [BASE], hf_stranger: [] },
		...options,
	});
	vi.stubEnv("HF_ENDPOINT", hub.endpoint);
	return hub;
}

/**
 * Take everything out of the environment that says how the Hub is reached, until the test ends.
 *
 * @returns an empty cache, which it names instead
 */
export async function cleanEnvironment(): Promise<string> {
	for (const name of Object.keys(process.env))
		if (/^(HF_|HUGGING|TRANSFORMERS_|XDG_)|_proxy$/i.test(name))
			vi.stubEnv(name, undefined);
	const cache = await memoryFolder();
	vi.stubEnv("HF_HUB_CACHE", cache);
	vi.stubEnv("HF_HOME", cache);
	onTestFinished(() => void vi.unstubAllEnvs());
	return cache;
}
