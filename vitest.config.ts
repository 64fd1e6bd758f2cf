import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

const report = process.env.VITEST_JSON_REPORT;

export default defineConfig({
	test: {
		// All of them: what the tests start is mostly waited for.
		maxWorkers: availableParallelism(),
		// To load everything anew for each file takes a minute of processor time; what a test replaces, it puts back.
		isolate: false,
		testTimeout: 30_000, // no test is about time, and a machine may be busy
		// What commands say must not depend on who runs the tests.
		env: { GITHUB_ACTIONS: "" },
		...(report && {
			reporters: ["default", "json"],
			outputFile: { json: report },
		}),
		coverage: {
			// What reads bytes that anybody may have written, and what journals and publishes: no branch is untested.
			include: [
				"src/format/**",
				"src/engine/{journal,journal-file,lane,lanes,publish,published}.ts",
				"src/engine/{resume,staged-plan,staged-run}.ts",
				"src/io/{staging,staging-notes,take-over}.ts",
			],
			thresholds: { 100: true },
			reporter: ["text"],
		},
	},
});
