import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import yargs from "yargs";
import { makeModels } from "./model.ts";
import { type Contender, Race, runCommand } from "./race.ts";

const options = await yargs(process.argv.slice(2))
	.scriptName("tsx test/bench/fetch.ts")
	.usage(
		"Measure a download over loopback beside curl and sha256sum, in one run.",
	)
	.options({
		size: { type: "number", default: 1, describe: "GB of the model" },
		shards: { type: "number", default: 1, describe: "files of the model" },
		runs: { type: "number", default: 5, describe: "of each, in turn" },
		dir: {
			type: "string",
			default: path.join(tmpdir(), "merge-delta-bench"),
			describe: "where the model is made, and kept for the next time",
		},
	})
	.strict()
	.parseAsync();

const REPOSITORY = "local/model";
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const say = (line: string) => process.stderr.write(`${line}\n`);
const { size, shards, runs, dir } = options;
const out = path.join(dir, "fetched");
await mkdir(dir, { recursive: true });
const model = await makeModels(
	path.join(dir, `${size}-${shards}`),
	size * 1e9,
	shards,
);

/** The Hub in a process of its own, so that what it takes is not the client's. */
const hub = spawn(
	process.execPath,
	["--import", "tsx", here("../hub/serve.ts"), model.base, REPOSITORY],
	{ stdio: ["ignore", "pipe", "inherit"] },
);
const [line] = await once(createInterface(hub.stdout), "line");
const [, endpoint = "", commit = ""] =
	/HF_ENDPOINT=(\S+) .*@(\w+)/.exec(line) ?? [];

const names = Array.from({ length: shards }, (_, i) =>
	shards === 1
		? "model.safetensors"
		: `model-${pad(i + 1)}-of-${pad(shards)}.safetensors`,
);
const downloads = names
	.map((name) => {
		const url = `${endpoint}/${REPOSITORY}/resolve/${commit}/${name}`;
		return `curl --silent --fail --location --output ${out}/${name} ${url}`;
	})
	.join(" && ");
const models = [model];
const shell = (command: string): Contender => {
	const script = `mkdir -p ${out} && ${command} && echo`;
	return { run: () => runCommand("/bin/sh", ["-c", script]), models };
};
const fetching: Contender = {
	run: () =>
		runCommand(
			process.execPath,
			[
				...[here("../../dist/bin/merge-delta.cjs"), "fetch", REPOSITORY],
				...["--cache-dir", out, "--quiet"],
			],
			{ HF_ENDPOINT: endpoint, HF_TOKEN: "" },
		),
	models,
};

const race = new Race({ state: "warm", out, runs, say });
const results = await race.run(
	new Map([
		["curl, then sha256sum", shell(`${downloads} && sha256sum ${out}/*`)],
	]),
	new Map([
		["curl alone", shell(downloads)],
		["merge-delta fetch", fetching],
	]),
);
hub.kill();
await rm(out, { recursive: true, force: true });
console.log(`${size} GB in ${shards} files, best (median) of ${runs}, seconds`);
for (const { what, best, median, ratio } of results)
	console.log(
		`${what.padEnd(24)} ${best.toFixed(2)} (${median.toFixed(2)})  ${(size / best).toFixed(2)} GB/s  × ${ratio.toFixed(2)}`,
	);

function pad(number: number): string {
	return String(number).padStart(5, "0");
}
