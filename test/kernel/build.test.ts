import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { jsKernel } from "../../src/kernel/js.ts";
import { nativeKernelFile } from "../../src/kernel/native/location.ts";
import { openNativeKernel } from "../../src/kernel/native.ts";
import { chooseKernel, whatIsWrong, whyNot } from "../../src/kernel/select.ts";
import { scratchFolder } from "../end-to-end/run.ts";

const require = createRequire(import.meta.url);
const HAS_NATIVE = whyNot("native") === null;

test("the WebAssembly code is what its source compiles to", async () => {
	const file = path.join(await scratchFolder(), "add.wasm");
	const { scripts } = require("../../package.json");
	const [command, ...options] = scripts["build:wasm"].split(" ");
	expect(command).toBe("asc");
	const asc = require.resolve("assemblyscript/bin/asc.js");
	options[options.indexOf("--outFile") + 1] = file;
	await promisify(execFile)(process.execPath, [asc, ...options]);
	const committed = await readFile(require.resolve("#wasm-kernel"));
	expect(Buffer.compare(await readFile(file), committed)).toBe(0);
}, 60_000);

describe("the choice of a kernel", () => {
	test("takes the first that runs, or the one that is named", () => {
		expect(chooseKernel("auto")).toBe(HAS_NATIVE ? "native" : "wasm");
		expect(chooseKernel("js")).toBe("js");
		process.env.MERGE_DELTA_KERNEL = "wasm";
		expect(chooseKernel("auto")).toBe("wasm");
		expect(chooseKernel("js")).toBe("js");
		process.env.MERGE_DELTA_KERNEL = "abacus";
		expect(() => chooseKernel("auto")).toThrow(/MERGE_DELTA_KERNEL.*abacus/);
		delete process.env.MERGE_DELTA_KERNEL;
	});
});

test("a kernel whose last bit is wrong is found out", () => {
	expect(whatIsWrong(jsKernel)).toBe(null);
	const truncating = {
		...jsKernel,
		add(...given: Parameters<typeof jsKernel.add>) {
			const counts = jsKernel.add(...given);
			given[3][0] = (given[3][0] as number) ^ 1;
			return counts;
		},
	};
	expect(whatIsWrong(truncating)).toMatch(/adds F16 wrongly/);
	const onlyAdding = {
		...jsKernel,
		add(...[spec, ...operands]: Parameters<typeof jsKernel.add>) {
			return jsKernel.add({ ...spec, subtract: false }, ...operands);
		},
	};
	expect(whatIsWrong(onlyAdding)).toMatch(/subtracts F16 wrongly/);
});

describe("the native kernel", () => {
	test("that is absent or broken says why", async () => {
		const file = path.join(await scratchFolder(), "kernel.node");
		expect(() => openNativeKernel(file)).toThrow(/kernel\.node is not there/);
		await writeFile(file, "no program");
		expect(() => openNativeKernel(file)).toThrow(/does not load/);
	});

	test("that has not the instructions that are asked for says so", () => {
		process.env.MERGE_DELTA_SIMD = "mmx";
		expect(() => openNativeKernel()).toThrow(
			HAS_NATIVE ? /MERGE_DELTA_SIMD=mmx/ : /./,
		);
		delete process.env.MERGE_DELTA_SIMD;
	});

	test.runIf(HAS_NATIVE)("checks every argument itself", () => {
		const { add } = require(nativeKernelFile());
		const bytes = (length: number) => new Uint8Array(length);
		const good = [0, 0, 0, -1, 0, 0, bytes(4), bytes(4), bytes(4)];
		const counts = new Float64Array(2);
		expect(() => add(...good, counts)).not.toThrow();
		const shared = bytes(12);
		for (const [at, wrong] of [
			...([0, 1, 2, 3, 4, 5] as const).map((i) => [i, 99] as const),
			[3, -2],
			[5, -1],
			[5, 2],
			[6, bytes(2)],
			[7, bytes(6)],
			[8, bytes(3)],
			[6, "text"],
			[7, null],
			[8, new Float32Array(1)],
			[9, new Float64Array(1)],
			[9, bytes(16)],
		] as const) {
			const given = [...good, counts].with(at, wrong as never);
			expect(() => add(...given), `argument ${at}`).toThrow(RangeError);
		}
		const overlapping = [...good, counts]
			.with(6, shared.subarray(0, 4))
			.with(8, shared.subarray(2, 6));
		expect(() => add(...overlapping)).toThrow(RangeError);
		expect(() => add()).toThrow(RangeError);
	});

	test.runIf(HAS_NATIVE)("loads in several threads at once", async () => {
		const program = `
			const { workerData, parentPort } = require("node:worker_threads");
			parentPort.postMessage(require(workerData).levels());`;
		const threads = Array.from({ length: 3 }, () => {
			const worker = new Worker(program, {
				eval: true,
				workerData: nativeKernelFile(),
			});
			return new Promise((resolve, reject) =>
				worker.on("message", resolve).on("error", reject),
			);
		});
		const said = await Promise.all(threads);
		expect(said).toEqual(said.map(() => openNativeKernel().levels));
	});
});
