import { spawnSync } from "node:child_process";
import {
	appendFile,
	chmod,
	copyFile,
	mkdir,
	readdir,
	readFile,
	rename,
	writeFile,
} from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { useMergedModel } from "./end-to-end/merged-model.ts";
import { scratchFolder } from "./end-to-end/run.ts";

const FOLDER = fileURLToPath(
	new URL("../.github/actions/verify", import.meta.url),
);

interface Step {
	id?: string;
	uses?: string;
	run?: string;
	shell?: string;
	env?: Record<string, string>;
	with?: Record<string, string>;
}
interface Action {
	inputs: Record<string, { required?: boolean; default?: string }>;
	outputs: Record<string, { value: string }>;
	runs: { using: string; steps: Step[] };
}

const action: Action = parse(
	await readFile(path.join(FOLDER, "action.yml"), "utf8"),
);

interface Job {
	status: number | null;
	stdout: string;
	stderr: string;
	summary: string;
	output: string;
	workspace: string;
}

/** Run the action's scripts as a runner does, in a workspace of its own. */
async function runAction(
	inputs: Record<string, string>,
	{ workspace = "", bin = "" } = {},
): Promise<Job> {
	const cwd = workspace || (await scratchFolder());
	const scratch = await scratchFolder();
	const [summary, output] = ["summary", "output"].map((name) =>
		path.join(scratch, name),
	) as [string, string];
	const job: Job = {
		...{ status: 0, stdout: "", stderr: "", summary: "", output: "" },
		workspace: cwd,
	};
	for (const { run, env = {} } of action.runs.steps) {
		if (run === undefined) continue;
		const values = Object.entries(env).map(([name, value]) => [
			name,
			value.replace(
				/\$\{\{ inputs\.([\w-]+) \}\}/,
				(_, input) => inputs[input] ?? action.inputs[input]?.default ?? "",
			),
		]);
		const script = path.join(scratch, "script.sh");
		await writeFile(script, run);
		const { status, stdout, stderr } = spawnSync(
			"bash",
			["--noprofile", "--norc", "-eo", "pipefail", script],
			{
				...{ cwd, encoding: "utf8" },
				env: {
					...process.env,
					PATH: `${bin}${path.delimiter}${process.env.PATH}`,
					GITHUB_ACTIONS: "true",
					GITHUB_ACTION_PATH: FOLDER,
					GITHUB_STEP_SUMMARY: summary,
					GITHUB_OUTPUT: output,
					...Object.fromEntries(values),
				},
			},
		);
		Object.assign(job, { status });
		job.stdout += stdout;
		job.stderr += stderr;
		if (status !== 0) break;
	}
	job.summary = await readFile(summary, "utf8").catch(() => "");
	job.output = await readFile(output, "utf8").catch(() => "");
	return job;
}

test("no input is put into a script, and each is used", () => {
	const { steps } = action.runs;
	expect(action.runs.using).toBe("composite");
	for (const { run, shell, uses } of steps) {
		expect(run ?? "").not.toContain("${{");
		if (run !== undefined) expect(shell).toBe("bash");
		else expect(uses).toMatch(/^actions\/setup-node@v\d+$/);
	}
	const text = JSON.stringify(steps);
	for (const input of Object.keys(action.inputs))
		expect(text).toContain(`\${{ inputs.${input} }}`);
	for (const { value } of Object.values(action.outputs))
		expect(value).toMatch(/^\$\{\{ steps\.verify\.outputs\.[\w-]+ \}\}$/);
});

const mergedModel = useMergedModel();

describe.skipIf(process.platform === "win32")("the action", () => {
	test("verifies a model, and sums it up", async () => {
		const out = await mergedModel();
		const expected = path.join(path.dirname(out), "expected sums");
		await copyFile(path.join(out, "SHA256SUMS"), expected);
		const job = await runAction({ model: out, expect: expected });
		expect(job.stderr).toBe("");
		expect(job.stdout).toContain("config.json: OK\n");
		expect(job.summary).toMatch(
			/^### Model verified\n\n {4}config\.json: OK\n[\s\S]*^ {4}verified .*: 9 files/m,
		);
		expect(job.output).toBe("exit-code=0\n");
		expect(job.status).toBe(0);
	});

	test("fails as verify does, and says where", async () => {
		const out = await mergedModel();
		await appendFile(path.join(out, "config.json"), " ");
		await rename(out, path.join(path.dirname(out), "--model"));
		const workspace = path.dirname(out);
		const job = await runAction({ model: "--model" }, { workspace });
		expect(job.stderr).toMatch(
			/^::error file=--model\/config\.json,title=not verified%3A \.\/--model::config\.json: FAILED%0Aexpected \w{64}%0Afound \w{64}\n$/,
		);
		expect(job.summary).toMatch(
			/^### Model not verified \(exit code 1\)\n\n {4}config\.json: FAILED\n/,
		);
		expect([job.status, job.output]).toEqual([1, "exit-code=1\n"]);
	});

	test("hands on arguments word by word, and no pattern is filled in", async () => {
		const out = await mergedModel();
		await writeFile(path.join(out, "extra"), "");
		const args = "--allow-extra\n  --quiet --threads\t2\n";
		const job = await runAction({ model: out, args });
		expect(job.stdout).toMatch(/^verified .*\n$/);
		expect(job.status).toBe(0);
		const starred = await runAction(
			{ model: out, args: "--allow-extra *" },
			{ workspace: path.dirname(out) },
		);
		expect(starred.stderr).toMatch(/Unknown \w+: \*\./);
		expect(starred.status).toBe(2);
	});

	test.each([
		["nothing", { model: "" }, 2],
		["no such folder", { model: "/no/such" }, 2],
		["no version", { model: "x", version: "1 || evil" }, 2],
		["another package", { model: "x", version: "npm:evil" }, 2],
	])("%s is refused", async (_, inputs, status) => {
		const job = await runAction(inputs);
		expect(job.stdout + job.stderr).toMatch(/^::error title=merge-delta::/m);
		expect(job.status).toBe(status);
	});

	test("takes a version from npm where one is named", async () => {
		const bin = path.join(await scratchFolder(), "bin");
		await mkdir(bin);
		const npx = path.join(bin, "npx");
		await writeFile(npx, '#!/bin/sh\nprintf "[%s]" "$@"\nexit 3\n');
		await chmod(npx, 0o755);
		const inputs = { model: "a b", expect: "c d", version: "1.2.3-rc.1" };
		const job = await runAction(inputs, { bin });
		expect(job.stdout).toBe(
			"[--yes][merge-delta@1.2.3-rc.1][verify][a b][--expect=c d]",
		);
		expect([job.status, job.output]).toEqual([3, "exit-code=3\n"]);
	});

	test.each([
		"$(touch pwned)",
		"`touch pwned`",
		'"; touch pwned; "',
		"'; touch pwned; '",
		"x\ntouch pwned\n",
		"x && touch pwned",
		"a[$(touch pwned)]",
	])("never runs an input: %j", async (input) => {
		for (const inputs of [
			{ model: input, expect: input, args: input },
			{ model: "/no/such", version: input },
		]) {
			const job = await runAction(inputs);
			expect(job.status).toBeGreaterThan(0);
			expect(await readdir(job.workspace)).toEqual([]);
			expect(job.summary).not.toMatch(/verified\n\n/i);
		}
	});

	test("no name becomes markup of the summary", async () => {
		const out = await mergedModel();
		await writeFile(path.join(out, "``` <b> # x"), "");
		await writeFile(path.join(out, "y\n# title"), "");
		const { summary, status } = await runAction({ model: out });
		const [title, ...lines] = summary.trimEnd().split("\n");
		expect(title).toBe("### Model not verified (exit code 1)");
		for (const line of lines) expect(line).toMatch(/^( {4}|$)/);
		expect(status).toBe(1);
	});
});

test("the README's workflows can be read, and give the action inputs that it has", async () => {
	const readme = await readFile(
		path.join(FOLDER, "..", "..", "..", "README.md"),
		"utf8",
	);
	const blocks = [...readme.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)];
	expect(blocks).toHaveLength(2);
	for (const [, text = ""] of blocks) {
		const { jobs } = parse(text);
		const [job] = Object.values(jobs) as { steps: Step[] }[];
		for (const { uses = "", with: inputs = {} } of job?.steps ?? [])
			if (uses.includes("merge-delta"))
				for (const name of Object.keys(inputs))
					expect(Object.keys(action.inputs)).toContain(name);
	}
});
