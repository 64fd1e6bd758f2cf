import { constants } from "node:fs";
import { access, mkdir, rm } from "node:fs/promises";
import { cpus, release, tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import yargs from "yargs";
import { FLOOR_WAYS, type FloorWay, nameOf } from "./floor.ts";
import { type KernelSpeed, measureKernels } from "./kernel-speed.ts";
import { makeModels } from "./model.ts";
import {
	DROP_CACHES,
	Race,
	type Result,
	type Runner,
	runCommand,
} from "./race.ts";

const GB = 1e9;
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

const options = await yargs(process.argv.slice(2))
	.scriptName("npm run bench --")
	.usage("Measure a merge beside the floor of this machine, in one run.")
	.options({
		size: { type: "number", default: 2, describe: "GB of each model" },
		shards: { type: "number", default: 4, describe: "files of each model" },
		runs: { type: "number", default: 3, describe: "of each, in turn" },
		dir: {
			type: "string",
			default: path.join(tmpdir(), "merge-delta-bench"),
			describe: "where the models are made, and kept for the next time",
		},
		python: {
			type: "string",
			describe: "a Python with torch, to compare with",
		},
		state: {
			choices: ["cold", "warm", "both"] as const,
			default: "both" as const,
			describe: "of the page cache",
		},
		only: {
			type: "string",
			describe: "measure merges whose row fits this expression, and no more",
		},
		json: {
			type: "boolean",
			default: false,
			describe: "one document on stdout",
		},
	})
	.strict()
	.parseAsync();

/** As the command sets it for itself. */
const COMMAND_ENVIRONMENT = { UV_THREADPOOL_SIZE: "24" };

const say = (line: string) => process.stderr.write(`${line}\n`);
const out = path.join(options.dir, "out");
const bytes = options.size * GB;

function operation(name: "merge" | "verify", argument: unknown): Runner {
	const args = [here("operation.mjs"), name, JSON.stringify(argument)];
	return () => runCommand(process.execPath, args, COMMAND_ENVIRONMENT);
}

function moving({ base, delta }: Models, way: FloorWay): Runner {
	const args = [here("floor.ts"), base, delta, out, JSON.stringify(way)];
	// As many threads for files as slices can be in flight.
	const environment = { UV_THREADPOOL_SIZE: "32" };
	return () =>
		runCommand(process.execPath, ["--import", "tsx", ...args], environment);
}

interface Models {
	base: string;
	delta: string;
}

/** What is measured, each in all of its forms. */
interface Data {
	models: Models;
	/** the same, each in one file */
	single: Models;
	/** the same, as torch saves them; null without torch */
	torch: Models | null;
}

function merging(models: Models, choices: object = {}): Runner {
	return operation("merge", { ...models, out, ...choices });
}

function contenders({ models, single, torch }: Data): Map<string, Runner> {
	const { base, delta } = models;
	const list = new Map<string, Runner>([
		["merge-delta", merging(models)],
		["  without syncs on the way", merging(models, { syncBytes: 2 ** 52 })],
		["  outputs hashed only", merging(models, { inputSums: false })],
		["  the same, in one file", merging(single, { inputSums: false })],
		["  the same, wasm", merging(models, { inputSums: false, kernel: "wasm" })],
		["  the same, js", merging(models, { inputSums: false, kernel: "js" })],
		[
			"  the same, --memory 48MB",
			merging(models, { inputSums: false, memory: 48e6 }),
		],
	]);
	if (torch !== null) {
		list.set("merge-delta, of .bin", merging(torch));
		list.set(
			"  outputs hashed, CRCs checked",
			merging(torch, { inputSums: false }),
		);
	}
	const { python } = options;
	if (python)
		for (const [name, mode] of [
			["torch, shard by shard", "loop"],
			["torch, all in memory", "all"],
		] as const)
			list.set(name, () =>
				runCommand(python, [here("torch_merge.py"), mode, base, delta, out]),
			);
	const only = new RegExp(options.only ?? "");
	return new Map([...list].filter(([what]) => only.test(what)));
}

async function measureState(
	state: "cold" | "warm",
	data: Data,
): Promise<Result[]> {
	const { models, single, torch } = data;
	const race = new Race({
		state,
		models: [models, single, ...(torch ? [torch] : [])],
		out,
		runs: options.runs,
		say,
	});
	const ways = FLOOR_WAYS.map((way): [string, Runner] => [
		`floor: ${nameOf(way)}`,
		moving(models, way),
	]);
	const floors = await race.best(ways, 3);
	return race.run(floors, contenders(data));
}

async function measureVerify(models: Models): Promise<Result[]> {
	await rm(out, { recursive: true, force: true });
	await merging(models)();
	const race = new Race({
		state: "warm",
		models: [{ base: out, delta: out }],
		out: null,
		runs: options.runs,
		say,
	});
	const command = `ls ${out}/*.safetensors | xargs -P ${cpus().length} -n 1 sha256sum > /dev/null`;
	return race.run(
		new Map([
			["sha256sum, in parallel", () => runCommand("/bin/sh", ["-c", command])],
		]),
		new Map([["merge-delta verify", operation("verify", out)]]),
	);
}

async function measureStart(): Promise<Result[]> {
	const race = new Race({
		state: "warm",
		models: [],
		out: null,
		runs: 20,
		say: () => {},
	});
	const cli = fileURLToPath(
		new URL("../../dist/bin/merge-delta.cjs", import.meta.url),
	);
	return race.run(
		new Map([["node -e 0", () => runCommand(process.execPath, ["-e", "0"])]]),
		new Map([
			[
				"merge-delta --version",
				() => runCommand(process.execPath, [cli, "--version"]),
			],
		]),
	);
}

async function machine(): Promise<string> {
	const cpu = `${cpus().length} × ${cpus()[0]?.model.trim()}`;
	return `Node ${process.versions.node}, ${cpu}, ${process.platform} ${release()}, ${options.size} GB in ${options.shards} shards`;
}

/** The same models in torch's files, made once; what they are is seen by their index, which is written last. */
async function saveByTorch(
	python: string,
	{ base, delta }: Models,
): Promise<Models> {
	const torch = { base: `${base}-torch`, delta: `${delta}-torch` };
	for (const [from, to] of [
		[base, torch.base],
		[delta, torch.delta],
	] as const)
		if (!(await isThere(path.join(to, "pytorch_model.bin.index.json"))))
			await runCommand(python, [here("torch_model.py"), from, to]);
	return torch;
}

function isThere(file: string): Promise<boolean> {
	return access(file).then(
		() => true,
		() => false,
	);
}

const title = await machine();
say(title);
await mkdir(options.dir, { recursive: true });
const folder = (shards: number) =>
	path.join(options.dir, `${options.size}-${shards}`);
const models = await makeModels(folder(options.shards), bytes, options.shards);
const single = await makeModels(folder(1), bytes, 1);
const data: Data = {
	...{ models, single },
	torch: options.python ? await saveByTorch(options.python, models) : null,
};
const canDrop = await access(DROP_CACHES, constants.W_OK).then(
	() => true,
	() => false,
);
const results: Record<string, Result[]> = {};
if (options.state !== "warm") {
	if (canDrop) results.cold = await measureState("cold", data);
	else
		say(
			"cold: not measured, because only root can drop the page cache, on Linux",
		);
}
if (options.state !== "cold") results.warm = await measureState("warm", data);
const kernels: KernelSpeed[] = [];
if (options.only === undefined) {
	results.verify = await measureVerify(models);
	results.start = await measureStart();
	say("kernels");
	kernels.push(...measureKernels());
}
await rm(out, { recursive: true, force: true });

if (options.json)
	console.log(
		JSON.stringify(
			{ machine: title, runs: options.runs, bytes, results, kernels },
			null,
			2,
		),
	);
else {
	console.log(`${title}, best (median) of ${options.runs}`);
	for (const [state, rows] of Object.entries(results)) {
		console.log(
			`\n${state.padEnd(30)} seconds  (median)  GB/s  × first  CPU s/GB   MiB`,
		);
		for (const { what, best, median, cpuSeconds, peakMiB, ratio } of rows)
			console.log(
				[
					what.slice(0, 30).padEnd(30),
					best.toFixed(2).padStart(7),
					`(${median.toFixed(2)})`.padStart(9),
					(options.size / best).toFixed(2).padStart(5),
					ratio.toFixed(2).padStart(8),
					(cpuSeconds === null
						? ""
						: (cpuSeconds / options.size).toFixed(2)
					).padStart(9),
					(peakMiB?.toFixed(0) ?? "").padStart(6),
				].join(" "),
			);
	}
	if (kernels.length > 0)
		console.log(
			"\nkernels, one core, operands in cache                 GB/s of output",
		);
	for (const { kernel, sum, gbPerSecond } of kernels)
		console.log(
			`${kernel.padEnd(15)} ${sum.padEnd(30)} ${gbPerSecond.toFixed(2).padStart(8)}`,
		);
}
