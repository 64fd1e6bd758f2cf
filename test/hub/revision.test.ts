import { readFile } from "node:fs/promises";
import path from "node:path";
import { expect, test } from "vitest";
import { fetchRepository } from "../../src/hub/fetch-repository.ts";
import { scratchFolder } from "../end-to-end/run.ts";
import { IMPATIENT, MODEL, openHub } from "./open-hub.ts";

test("case 66: a revision that moves on is fetched as it was at first", async () => {
	const hub = await openHub({
		repos: { [MODEL]: { files: { "a.json": "1", "b.json": "1" } } },
	});
	const options = {
		...{ endpoint: hub.endpoint, token: null, retry: IMPATIENT },
		cacheDir: await scratchFolder(),
	};
	const first = hub.commitOf(MODEL);
	let moved: Promise<string> | undefined;
	const fetched = await fetchRepository(MODEL, {
		...options,
		choose: (paths) => {
			moved = hub.commit(MODEL, { "a.json": "2", "b.json": "2" });
			return paths;
		},
	});
	const second = await moved;
	expect(second).not.toBe(first);
	expect(fetched.commit).toBe(first);
	const contentOf = (folder: string) =>
		Promise.all(
			["a.json", "b.json"].map((name) =>
				readFile(path.join(folder, name), "utf8"),
			),
		);
	expect(await contentOf(fetched.folder)).toEqual(["1", "1"]);
	const revisions = hub.requests.flatMap(
		({ url }) => /\/(?:resolve|tree)\/([^/?]+)/.exec(url)?.[1] ?? [],
	);
	expect(revisions.length).toBeGreaterThan(1);
	expect(new Set(revisions)).toEqual(new Set([first]));
	const again = await fetchRepository(MODEL, {
		...{ ...options, choose: (paths: readonly string[]) => paths },
	});
	expect(again.commit).toBe(second);
	expect(await contentOf(again.folder)).toEqual(["2", "2"]);
});
