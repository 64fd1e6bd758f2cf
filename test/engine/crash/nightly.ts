import { mkdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import yargs from "yargs";
import { makeModels } from "../../bench/model.ts";
import { describeFolder, startCommand } from "./command.ts";
import { random } from "./explore.ts";

const options = await yargs(process.argv.slice(2))
	.scriptName("npm run crash --")
	.usage(
		"Kill a merge at random moments and give the same command again, until it is done; then another, and compare their bytes.",
	)
	.options({
		kills: { type: "number", default: 1000, describe: "how many" },
		size: { type: "number", default: 2, describe: "GB of each model" },
		shards: { type: "number", default: 4, describe: "files of each model" },
		seed: { type: "number", default: 1, describe: "of the moments" },
		dir: {
			type: "string",
			default: path.join(tmpdir(), "merge-delta-crash"),
			describe: "where the models are made, and kept for the next time",
		},
	})
	.strict()
	.parseAsync();

const { kills, dir } = options;
const parent = path.join(dir, "out");
const out = path.join(parent, "out");
const pick = random(options.seed);
const models = await makeModels(dir, options.size * 1e9, options.shards);
const args = [
	...["--base", models.base, "--delta", models.delta, "--out", out],
	...["--convention", "add", "--allow-unlikely", "--sync-bytes", "16MiB"],
	"--json",
];

/** Run the command once, for at most so many seconds. @returns bytes it did not make again, or null if killed */
async function runFor(seconds: number, more: string[]): Promise<number | null> {
	const { child, ended } = startCommand([...args, ...more]);
	const timer = setTimeout(() => child.kill("SIGKILL"), seconds * 1000);
	const { code, stdout, stderr } = await ended;
	clearTimeout(timer);
	if (/^resuming/m.test(stderr)) figures.resumed++;
	if (code === null) return null;
	if (code === 8) return 0; // killed when all was done: the output is compared below
	if (code !== 0) throw new Error(`exit code ${code}: ${stderr}`);
	return JSON.parse(stdout).resumed?.byteLength ?? 0;
}

const figures = { kills: 0, merges: 0, resumed: 0, resumedBytes: 0 };
const tell = () =>
	console.log(
		`${figures.kills} kills, ${figures.merges} merges done, ${figures.resumed} runs went on; bytes that were not made again when it was done: ${figures.resumedBytes.toLocaleString("en")}`,
	);

await rm(parent, { recursive: true, force: true });
await mkdir(parent);
const started = performance.now();
await runFor(3600, []);
const seconds = (performance.now() - started) / 1000;
const expected = await describeFolder(parent);
const { planId } = JSON.parse(
	await readFile(path.join(out, "merge-delta.json"), "utf8"),
);
console.log(`plan ${planId}, ${seconds.toFixed(1)} s when nobody kills it`);

while (figures.kills < kills) {
	// Every other merge replaces the one before.
	const replaces = figures.merges % 2 === 1;
	if (!replaces) await rm(out, { recursive: true });
	const more = replaces ? ["--overwrite"] : [];
	for (;;) {
		const moment = figures.kills < kills ? (pick(1e6) / 1e6) * seconds : 3600;
		const resumedBytes = await runFor(moment, more);
		if (resumedBytes !== null) {
			figures.resumedBytes += resumedBytes;
			break;
		}
		figures.kills++;
		if (figures.kills % 50 === 0) tell();
	}
	figures.merges++;
	const found = await describeFolder(parent);
	if (found !== expected)
		throw new Error(`other bytes: expected\n${expected}\nfound\n${found}`);
}
tell();
await rm(parent, { recursive: true });
