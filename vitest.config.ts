import { defineConfig } from "vitest/config";

const report = process.env.VITEST_JSON_REPORT;

export default defineConfig({
	test: {
		// What commands say must not depend on who runs the tests.
		env: { GITHUB_ACTIONS: "" },
		...(report
			? { reporters: ["default", "json"], outputFile: { json: report } }
			: {}),
	},
});
