import { access, mkdir, rm } from "node:fs/promises";
import { cpus, release, tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import yargs from "yargs";
import { FLOOR_WAYS, type FloorWay, nameOf } from "./floor.ts";
import { type KernelSpeed, measureKernels } from "./kernel-speed.ts";
import { makeModels } from "./model.ts";
import {
	type Comparison,
	type Contender,
	dropCaches,
	type Models,
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

function contenders({ models, single, torch }: Data): Map<string, Contender> {
	const of = (which: Models, choices: object, beside?: string): Contender => ({
		run: merging(which, choices),
		models: [which],
		...(beside === undefined ? {} : { beside }),
	});
	const outputs = { inputSums: false };
	const list: [string, Contender | null][] = [
		["merge-delta", of(models, {})],
		["  of .bin", torch && of(torch, {}, "merge-delta")],
		["  without syncs on the way", of(models, { syncBytes: 2 ** 52 })],
		["  outputs hashed only", of(models, outputs)],
		[
			"  the same, of .bin",
			torch && of(torch, outputs, "  outputs hashed only"),
		],
		["  the same, in one file", of(single, outputs)],
		["  the same, wasm", of(models, { ...outputs, kernel: "wasm" })],
		["  the same, js", of(models, { ...outputs, kernel: "js" })],
		["  the same, --memory 48MB", of(models, { ...outputs, memory: 48e6 })],
	];
	const { python } = options;
	if (python)
		for (const [name, mode] of [
			["torch, shard by shard", "loop"],
			["torch, all in memory", "all"],
		] as const) {
			const { base, delta } = models;
			const args = [here("torch_merge.py"), mode, base, delta, out];
			const run = () => runCommand(python, args);
			list.push([name, { run, models: [models] }]);
		}
	const only = new RegExp(options.only ?? "");
	const isMeasured = (
		entry: [string, Contender | null],
	): entry is [string, Contender] => entry[1] !== null && only.test(entry[0]);
	return new Map(list.filter(isMeasured));
}

async function measureState(
	state: "cold" | "warm",
	data: Data,
): Promise<Result[]> {
	// Also for warm runs: who wrote a file in small pieces left it in small pages, which take longer to copy.
	const isEmpty = await dropCaches();
	if (state === "cold" && !isEmpty) {
		say("cold: not measured, because only root can drop the page cache");
		return [];
	}
	const { models } = data;
	const race = new Race({ state, out, runs: options.runs, say });
	const ways = FLOOR_WAYS.map((way): [string, Contender] => [
		`floor: ${nameOf(way)}`,
		{ run: moving(models, way), models: [models] },
	]);
	const floors = await race.best(new Map(ways), 3);
	return race.run(floors, contenders(data));
}

async function measureVerify(models: Models): Promise<Result[]> {
	await rm(out, { recursive: true, force: true });
	await merging(models)();
	const race = new Race({
		...{ state: "warm", out: null, runs: options.runs, say },
	});
	const merged = [{ base: out, delta: out }];
	const command = `ls ${out}/*.safetensors | xargs -P ${cpus().length} -n 1 sha256sum > /dev/null`;
	return race.run(
		new Map([
			[
				"sha256sum, in parallel",
				{ run: () => runCommand("/bin/sh", ["-c", command]), models: merged },
			],
		]),
		new Map([
			["merge-delta verify", { run: operation("verify", out), models: merged }],
		]),
	);
}

async function measureStart(): Promise<Result[]> {
	const race = new Race({
		...{ state: "warm", out: null, runs: 20, say: () => {} },
	});
	const cli = fileURLToPath(
		new URL("../../dist/bin/merge-delta.cjs", import.meta.url),
	);
	const node = (...args: string[]): Contender => ({
		run: () => runCommand(process.execPath, args),
		models: [],
	});
	return race.run(
		new Map([["node -e 0", node("-e", "0")]]),
		new Map([["merge-delta --version", node(cli, "--version")]]),
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

/** One line about two rows. */
function describe(what: string, { what: other, ratio, spread }: Comparison) {
	const range =
		spread === null
			? ""
			: ` (${(ratio / spread).toFixed(3)} to ${(ratio * spread).toFixed(3)})`;
	return `${what.trim()} / ${other.trim()}, round by round: ${ratio.toFixed(3)}${range}`;
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
const results: Record<string, Result[]> = {};
for (const state of ["cold", "warm"] as const)
	if (options.state === state || options.state === "both")
		results[state] = await measureState(state, data);
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
	console.log(
		"round by round: the geometric mean, and two standard errors of it",
	);
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
		for (const { what, beside } of rows)
			if (beside !== null) console.log(describe(what, beside));
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
