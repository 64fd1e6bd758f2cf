import { readFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { type CompareReport, compare } from "../../src/index.ts";
import { FIXTURES, run } from "./run.ts";
import { f16, type Tensor, writeModel } from "./write-model.ts";

describe("compare", () => {
	test("counts elements that differ, and how far they are apart", async () => {
		const a = await writeModel({
			same: f16(1, 2, 3),
			far: f16(0x3c00, 0x0000, 0x7bff, 5),
			ints: ["I32", [2], new Uint8Array(8)],
		});
		const b = await writeModel({
			same: f16(1, 2, 3),
			far: f16(0x3c04, 0x8000, 0x7c00, 5),
			ints: ["I32", [2], new Uint8Array(8).fill(1, 4, 5)],
		});
		expect(await compare(a, b)).toMatchObject({
			same: false,
			different: [
				{ tensor: "far", dtype: "F16", elements: 4, different: 3, maxUlp: 4 },
				{
					tensor: "ints",
					dtype: "I32",
					elements: 2,
					different: 1,
					maxUlp: null,
				},
			],
			...{ otherType: [], onlyInA: [], onlyInB: [] },
			totals: { tensors: 3, elements: 9, different: 4, maxUlp: 4 },
		} satisfies Partial<CompareReport>);
		const { exitCode, stdout } = await run("compare", a, b);
		expect(stdout).toBe(
			[
				"different   share  ulp  tensor",
				"        3  75.0 %    4  far",
				"        1  50.0 %       ints",
				"different 2 of 3 tensors, 4 of 9 elements, by at most 4 ulp\n",
			].join("\n"),
		);
		expect(exitCode).toBe(1);
	});

	test("no share is rounded to all or nothing", async () => {
		const count = 10_000;
		const zeros = new Uint8Array(count);
		const ones = Uint8Array.from(zeros).fill(1);
		const tensor = (bytes: Uint8Array): Tensor => ["U8", [count], bytes];
		const spoilt = (bytes: Uint8Array) =>
			tensor(Uint8Array.from(bytes).fill(7, 0, 1));
		const a = await writeModel({
			...{ all: tensor(zeros), most: tensor(zeros), few: tensor(zeros) },
		});
		const b = await writeModel({
			...{ all: tensor(ones), few: spoilt(zeros) },
			most: tensor(Uint8Array.from(ones).fill(0, 0, 1)),
		});
		const { stdout } = await run("compare", a, b);
		expect(stdout).toMatch(/^ +10,000 +100 % +all$/m);
		expect(stdout).toMatch(/^ +1 +< 0\.1 % +few$/m);
		expect(stdout).toMatch(/^ +9,999 +> 99\.9 % +most$/m);
	});

	test("a table of common names is 80 columns wide at most", async () => {
		const name = "model.layers.31.post_attention_layernorm.weight";
		const [a, b] = [f16(0x7fff), f16(0xffff)];
		const { stdout } = await run(
			...["compare", await writeModel({ [name]: a })],
			await writeModel({ [name]: b }),
		);
		for (const line of stdout.split("\n"))
			expect(line.length).toBeLessThanOrEqual(80);
	});

	test("names what one side lacks, and what is of another type", async () => {
		const a = await writeModel({
			...{ a: f16(1), shape: f16(1, 2), type: f16(1) },
		});
		const b = await writeModel({
			...{ b: f16(1), shape: f16(1), type: ["BF16", [1], new Uint8Array(2)] },
		});
		const { exitCode, stdout } = await run("compare", a, b);
		expect(stdout).toBe(
			[
				"shape: F16 [2] in A, F16 [1] in B",
				"type: F16 [1] in A, BF16 [1] in B",
				"only in A: a F16 [1]",
				"only in B: b F16 [1]",
				"different 0 of 0 tensors, 0 of 0 elements, by at most 0 ulp; 2 of another type; 1 only in A; 1 only in B\n",
			].join("\n"),
		);
		expect(exitCode).toBe(1);
		const { stdout: json } = await run("compare", a, b, "--json");
		expect(JSON.parse(json)).toMatchObject({
			...{ schemaVersion: 1, ok: false, same: false },
			onlyInA: [{ tensor: "a", dtype: "F16", shape: [1] }],
		});
	});

	test.each([[], ["--threads", "2"], ["--memory", "8MB", "--direct-io", "on"]])(
		"finds one bit anywhere in a tensor of many pieces %s",
		async (...flags) => {
			const count = 5_000_011;
			const bytes = new Uint8Array(count * 2).fill(0x11);
			const a = await writeModel({ x: ["F16", [count], bytes] });
			const spoilt = Uint8Array.from(bytes);
			const places = [0, 1, 4_000_001, 2 * count - 1];
			for (const at of places) spoilt[at] = 0x10;
			const b = await writeModel({ y: f16(1), x: ["F16", [count], spoilt] });
			const { stdout } = await run("compare", a, b, "--json", ...flags);
			expect(JSON.parse(stdout).different).toEqual([
				{
					...{ tensor: "x", dtype: "F16", elements: count },
					...{ different: 3, maxUlp: 0x101 },
				},
			]);
		},
	);

	test("a torch checkpoint and its safetensors are the same", async () => {
		const [torch, safetensors] = ["base", "base-safetensors"].map((name) =>
			path.join(FIXTURES, "torch", "merge", name),
		) as [string, string];
		const { exitCode, stdout } = await run("compare", torch, safetensors);
		expect(stdout).toMatch(/^same /);
		expect(exitCode).toBe(0);
	});

	test("every type can be compared", async () => {
		const folder = path.join(FIXTURES, "torch", "dtypes");
		const torch = path.join(folder, "pytorch_model.bin");
		const report = await compare(torch, path.join(folder, "expected"));
		expect(report.same).toBe(true);
	});

	test("what cannot be opened ends as it does elsewhere", async () => {
		const folder = path.join(FIXTURES, "llama-f16", "base");
		for (const [other, code] of [
			["/no/such", 2],
			[path.join(FIXTURES, "invalid", "001-empty-file"), 3],
		] as const) {
			const { exitCode, stdout } = await run("compare", folder, other);
			expect([exitCode, stdout]).toEqual([code, ""]);
			const { stdout: json } = await run("compare", folder, other, "--json");
			expect(JSON.parse(json).error.exitCode).toBe(code);
		}
	});

	test("a model is read, and left as it was", async () => {
		const a = await writeModel({ x: f16(1) });
		const before = await readFile(a);
		await run("compare", a, a);
		expect(await readFile(a)).toEqual(before);
	});
});
