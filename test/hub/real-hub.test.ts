import { readdir } from "node:fs/promises";
import { beforeEach, expect, test, vi } from "vitest";
import { cleanEnvironment } from "../end-to-end/model-hub.ts";
import { run } from "../end-to-end/run.ts";

/** A model of about 4 MB, in both formats, that a test of transformers uses. */
const REPOSITORY = "hf-internal-testing/tiny-random-LlamaForCausalLM";

/** The Hub itself, and the proxies that lead there, only where that is asked for. */
const { MERGE_DELTA_REAL_HUB, ...outside } = process.env;

beforeEach(async () => {
	await cleanEnvironment();
	for (const [name, value] of Object.entries(outside))
		if (/_proxy$|^HF_ENDPOINT$/i.test(name)) vi.stubEnv(name, value);
});

test.runIf(MERGE_DELTA_REAL_HUB === "1")(
	"the real Hub: a tiny model is fetched, checked, and found again offline",
	{ timeout: 300_000 },
	async () => {
		const first = await run("fetch", REPOSITORY, "--json");
		expect(first.exitCode, first.stderr).toBe(0);
		const { commit, folder, files } = JSON.parse(first.stdout);
		expect(commit).toMatch(/^[0-9a-f]{40}$/);
		expect((await readdir(folder)).length).toBe(files.length);
		const names = files.map(({ path }: { path: string }) => path);
		expect(names).toContain("config.json");
		const again = await run("fetch", `${REPOSITORY}@${commit}`, "--offline");
		expect(again.exitCode, again.stderr).toBe(0);
		expect((await run("cache", "verify")).exitCode).toBe(0);
		const inspected = await run("inspect", REPOSITORY, "--json");
		expect(JSON.parse(inspected.stdout).totals.tensors).toBeGreaterThan(10);
		const missing = await run("fetch", REPOSITORY, "--revision", "no-such");
		expect(missing.exitCode).toBe(2);
	},
);
