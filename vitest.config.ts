import { defineConfig } from "vitest/config";

const report = process.env.VITEST_JSON_REPORT;

export default defineConfig({
	test: {
		testTimeout: 30_000, // no test is about time, and a machine may be busy
		// What commands say must not depend on who runs the tests.
		env: { GITHUB_ACTIONS: "" },
		...(report && {
			reporters: ["default", "json"],
			outputFile: { json: report },
		}),
	},
});
