import { onTestFinished } from "vitest";
import type { RemoteFile } from "../../src/hub/repository.ts";
import { listRemoteFiles } from "../../src/hub/repository.ts";
import {
	type HubOptions,
	type HubSettings,
	readHubSettings,
} from "../../src/hub/settings.ts";
import { memoryFolder } from "../end-to-end/run.ts";
import {
	type LocalHub,
	type LocalHubOptions,
	startLocalHub,
} from "./local-hub.ts";

export const MODEL = "org/model";
/** Tries that do not wait: what is tested is what is asked, not how patiently. */
export const IMPATIENT = { firstWaitMs: 0, longestWaitMs: 0 };

/** A hub that goes away with the test. */
export async function openHub(options: LocalHubOptions): Promise<LocalHub> {
	const hub = await startLocalHub(options);
	onTestFinished(() => hub.close());
	return hub;
}

/** Settings to reach it, with nothing of the environment. */
export async function settingsFor(
	hub: Pick<LocalHub, "endpoint">,
	options: HubOptions = {},
	env: Record<string, string> = {},
): Promise<HubSettings> {
	const cacheDir = options.cacheDir ?? (await memoryFolder());
	return readHubSettings(
		{
			...{ endpoint: hub.endpoint, token: null, retry: IMPATIENT },
			...options,
			cacheDir,
		},
		env,
	);
}

/** Bytes that are not the same at any two places that tests compare. */
export function someBytes(byteLength: number): Uint8Array {
	const bytes = new Uint8Array(byteLength);
	let state = 1;
	for (let i = 0; i < byteLength; i++) {
		state = (state * 1664525 + 1013904223) >>> 0;
		bytes[i] = state >>> 24;
	}
	return bytes;
}

/** A file of the head of `main`, as the hub lists it. */
export async function listed(
	hub: LocalHub,
	settings: HubSettings,
	path: string,
): Promise<RemoteFile> {
	const files = await listRemoteFiles(settings, MODEL, hub.commitOf(MODEL));
	const file = files.find((each) => each.path === path);
	if (file === undefined) throw new Error(`no ${path}`);
	return file;
}

export async function gathered(
	pieces: AsyncIterable<Uint8Array>,
): Promise<Buffer> {
	const all: Uint8Array[] = [];
	for await (const piece of pieces) all.push(piece);
	return Buffer.concat(all);
}
