import { execFileSync } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import yargs from "yargs";
import { jsKernel } from "../../src/kernel/js.ts";
import { FLOOR_WAYS, moveBytes } from "./floor.ts";
import { makeModels } from "./model.ts";

const DIST = new URL("../../dist/src/index.js", import.meta.url).href;
const TORCH_LOOP = fileURLToPath(new URL("torch_loop.py", import.meta.url));
const GB = 1e9;

/** One line of the result; `seconds` for the same output bytes everywhere. */
interface Row {
	what: string;
	seconds: number;
	peakMiB: number | null;
}

const options = await yargs(process.argv.slice(2))
	.scriptName("npm run bench --")
	.options({
		size: { type: "number", default: 2, describe: "GB of each model" },
		shards: { type: "number", default: 4 },
		runs: { type: "number", default: 3, describe: "best of so many" },
		dir: { type: "string", default: path.join(tmpdir(), "merge-delta-bench") },
		python: {
			type: "string",
			describe: "a Python with torch, to compare with",
		},
		json: { type: "boolean", default: false },
	})
	.strict()
	.parseAsync();

const say = (line: string) => process.stderr.write(`${line}\n`);
const out = path.join(options.dir, "out");

async function dropCaches(): Promise<boolean> {
	execFileSync("sync");
	return writeFile("/proc/sys/vm/drop_caches", "3").then(
		() => true,
		() => false,
	);
}

/** Best of several runs, the output folder removed before each. */
async function best(
	what: string,
	cold: boolean,
	makeFolder: boolean,
	run: () => Promise<Omit<Row, "what">>,
): Promise<Row> {
	let fastest: Row | null = null;
	for (let i = 0; i < options.runs; i++) {
		await rm(out, { recursive: true, force: true });
		if (makeFolder) await mkdir(out);
		if (cold) await dropCaches();
		else execFileSync("sync");
		const row = { what, ...(await run()) };
		say(`  ${what}: ${row.seconds.toFixed(2)} s`);
		if (fastest === null || row.seconds < fastest.seconds) fastest = row;
	}
	return fastest as Row;
}

async function measure(
	models: { base: string; delta: string },
	cold: boolean,
): Promise<Row[]> {
	const ways: Row[] = [];
	for (const way of FLOOR_WAYS)
		ways.push(
			await best(
				`floor, ${way.depth} slices of ${way.sliceBytes / 2 ** 20} MiB`,
				cold,
				true,
				async () => ({
					seconds: await moveBytes(models, out, way),
					peakMiB: null,
				}),
			),
		);
	ways.sort((a, b) => a.seconds - b.seconds);
	const rows = ways.slice(0, 1);
	rows.push(
		await best("merge-delta", cold, false, async () => {
			const program = `
				import { readFileSync } from "node:fs";
				import { merge } from ${JSON.stringify(DIST)};
				const started = performance.now();
				await merge(${JSON.stringify({ ...models, out })});
				const seconds = (performance.now() - started) / 1000;
				// Not maxRSS: a process inherits that of the one which started it.
				const peak = /VmHWM:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"));
				console.log(seconds, Number(peak[1]) / 1024);`;
			return twoNumbers(process.execPath, [
				"--input-type=module",
				"-e",
				program,
			]);
		}),
	);
	const { python } = options;
	if (python !== undefined)
		rows.push(
			await best("torch, shard by shard", cold, true, async () =>
				twoNumbers(python, [TORCH_LOOP, models.base, models.delta, out]),
			),
		);
	return rows;
}

function twoNumbers(command: string, args: string[]): Omit<Row, "what"> {
	const said = execFileSync(command, args, { encoding: "utf8" });
	const [seconds = Number.NaN, peakMiB = Number.NaN] = said
		.split(" ")
		.map(Number);
	return { seconds, peakMiB };
}

/** GB/s of output of a kernel whose operands lie in cache. */
function kernelSpeed(dtype: "F16" | "BF16" | "F32"): number {
	const bytes = () => new Uint8Array(2 ** 20).map((_, i) => (i * 37) & 0x3b);
	const [base, delta, sum] = [bytes(), bytes(), bytes()];
	const spec = { base: dtype, delta: dtype, cast: null, out: dtype };
	let fastest = 0;
	for (let i = 0; i < 50; i++) {
		const started = performance.now();
		jsKernel.add(spec, base, delta, sum);
		const speed = sum.length / (performance.now() - started) / 1e6;
		fastest = Math.max(fastest, speed);
	}
	return fastest;
}

const machine = `Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model.trim()}`;
say(`${machine}, ${options.size} GB in ${options.shards} shards`);
await mkdir(options.dir, { recursive: true });
const folder = path.join(options.dir, `${options.size}-${options.shards}`);
const models = await makeModels(folder, options.size * GB, options.shards);
const canDrop = await dropCaches();
const results: { cold?: Row[]; warm?: Row[] } = {};
if (canDrop) results.cold = await measure(models, true);
else say("cold: not measured, because only root can drop the page cache");
results.warm = await measure(models, false);
const kernels = (["F16", "BF16", "F32"] as const).map((dtype) => ({
	dtype,
	gbPerSecond: kernelSpeed(dtype),
}));
await rm(out, { recursive: true, force: true });

if (options.json) {
	console.log(
		JSON.stringify(
			{ machine, size: options.size, shards: options.shards, results, kernels },
			null,
			2,
		),
	);
} else {
	console.log(
		`${machine}, ${options.size} GB in ${options.shards} shards, best of ${options.runs}`,
	);
	for (const [state, rows] of Object.entries(results))
		for (const { what, seconds, peakMiB } of rows) {
			const ratio = seconds / (rows[0]?.seconds ?? Number.NaN);
			const memory = peakMiB === null ? "" : `  ${peakMiB.toFixed(0)} MiB`;
			console.log(
				`${state}  ${what.padEnd(28)} ${seconds.toFixed(2).padStart(6)} s  ${(options.size / seconds).toFixed(2)} GB/s  ${ratio.toFixed(2)} × floor${memory}`,
			);
		}
	for (const { dtype, gbPerSecond } of kernels)
		console.log(
			`kernel js ${dtype}: ${gbPerSecond.toFixed(2)} GB/s of output in cache`,
		);
}
