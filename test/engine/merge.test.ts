import { execFileSync } from "node:child_process";
import {
	open,
	readdir,
	readFile,
	stat,
	utimes,
	writeFile,
} from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import {
	encodeHeader,
	headerBytes,
} from "../../src/format/safetensors-writer.ts";
import {
	InterruptedError,
	LocalIoError,
	merge,
	SourceChangedError,
} from "../../src/index.ts";
import { scratchFolder } from "../end-to-end/run.ts";

const BIN = fileURLToPath(
	new URL("../../dist/bin/merge-delta.cjs", import.meta.url),
);

/** A model of one F16 tensor of zeros, as a sparse file. */
async function writeZeros(file: string, elements: number) {
	const { json, byteLength } = encodeHeader(
		[{ name: "t", dtype: "F16", shape: [elements] }],
		null,
		file,
	);
	const handle = await open(file, "wx");
	await handle.write(headerBytes(json));
	await handle.truncate(byteLength + elements * 2);
	await handle.close();
}

async function twoModels(elements: number) {
	const folder = await scratchFolder();
	const [base, delta] = [
		path.join(folder, "b.safetensors"),
		path.join(folder, "d.safetensors"),
	];
	await writeZeros(base, elements);
	await writeZeros(delta, elements);
	const outFolder = await scratchFolder();
	return { base, delta, out: path.join(outFolder, "out"), outFolder };
}

test("a tensor of 1 GiB never sits in memory", async () => {
	const { base, delta, out } = await twoModels(2 ** 29);
	const program = `
		import { merge } from ${JSON.stringify(new URL("../../dist/src/index.js", import.meta.url).href)};
		await merge(${JSON.stringify({ base, delta, out })});
		console.log(process.resourceUsage().maxRSS);`;
	const said = execFileSync(
		process.execPath,
		["--input-type=module", "-e", program],
		{ encoding: "utf8" },
	);
	expect(
		(await stat(path.join(out, "model.safetensors"))).size,
	).toBeGreaterThan(2 ** 30);
	const mebibytes = Number(said) / 1024;
	expect(mebibytes).toBeGreaterThan(20);
	expect(mebibytes).toBeLessThan(256); // what the README promises
}, 120_000);

test.runIf(process.platform === "linux")(
	"an output that does not fit the disk is refused before a byte is written",
	async () => {
		const { outFolder, ...models } = await twoModels(2 ** 42);
		const merging = merge(models);
		await expect(merging).rejects.toThrow(/not enough space.* free bytes/);
		await expect(merging).rejects.toThrow(LocalIoError);
		expect(await readdir(outFolder)).toEqual([]);
	},
);

test("an abort leaves no output, and what is safe is not made again", async () => {
	const { outFolder, ...models } = await twoModels(2 ** 23);
	const controller = new AbortController();
	const merging = merge({
		...{ ...models, syncBytes: 2 ** 20, signal: controller.signal },
		onProgress: ({ safeBytes }) => {
			if (safeBytes > 0) controller.abort();
		},
	});
	const error = await merging.catch((error) => error);
	expect(error).toBeInstanceOf(InterruptedError);
	const [safe] = error.fault.details;
	expect(safe).toMatch(/^\d+ of \d+ bytes are safe in .*out\.merge-delta: /);
	expect(await readdir(outFolder)).toEqual(["out.merge-delta"]);
	const { resumed } = await merge(models);
	expect(resumed?.byteLength).toBe(Number.parseInt(safe, 10));
	expect(await readdir(outFolder)).toEqual(["out"]);
}, 60_000);

test("an abort before anything is safe leaves nothing", async () => {
	const { outFolder, ...models } = await twoModels(2 ** 20);
	const signal = AbortSignal.abort();
	await expect(merge({ ...models, signal })).rejects.toThrow(InterruptedError);
	expect(await readdir(outFolder)).toEqual([]);
});

test("an input that changes during the merge is not published", async () => {
	const { outFolder, ...models } = await twoModels(2 ** 20);
	const merging = merge({
		...models,
		onProgress: () => void utimes(models.base, 1, 1),
	});
	await expect(merging).rejects.toThrow(SourceChangedError);
	expect(await readdir(outFolder)).toEqual([]);
});

test("an input that becomes shorter is a changed source", async () => {
	const { outFolder, ...models } = await twoModels(2 ** 23);
	const merging = merge({
		...models,
		onProgress: async () => writeFile(models.delta, "short"),
	});
	await expect(merging).rejects.toThrow(SourceChangedError);
	expect(await readdir(outFolder)).toEqual([]);
});

test("the manifest says what was read and written", async () => {
	const { base, delta, out } = await twoModels(5);
	const { manifest } = await merge({ base, delta, out });
	const written = JSON.parse(
		await readFile(path.join(out, "merge-delta.json"), "utf8"),
	);
	expect(written).toEqual(JSON.parse(JSON.stringify(manifest)));
	expect(manifest.inputs.map((file) => [file.from, file.fileName])).toEqual([
		["base", "b.safetensors"],
		["delta", "d.safetensors"],
	]);
	const { createHash } = await import("node:crypto");
	for (const { fileName, sha256, byteLength } of manifest.inputs) {
		const bytes = await readFile(path.join(path.dirname(base), fileName));
		expect(byteLength).toBe(bytes.length);
		expect(sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
	}
});

test.runIf(process.platform !== "win32")(
	"Ctrl-C stops the command with 130, SIGTERM with 143",
	async () => {
		const { spawn } = await import("node:child_process");
		const { base, delta, out, outFolder } = await twoModels(2 ** 28);
		for (const [signal, code] of [
			["SIGINT", 130],
			["SIGTERM", 143],
		] as const) {
			const child = spawn(
				process.execPath,
				[BIN, "--base", base, "--delta", delta, "--out", out],
				{ stdio: "ignore" },
			);
			while (!(await readdir(outFolder)).includes("out.merge-delta"))
				await new Promise((resolve) => setImmediate(resolve));
			child.kill(signal);
			const exitCode = await new Promise((resolve) =>
				child.on("exit", resolve),
			);
			expect(exitCode).toBe(code);
			expect(await readdir(outFolder)).not.toContain("out");
		}
	},
	60_000,
);
