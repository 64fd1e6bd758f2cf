import { defineConfig } from "vitest/config";

const report = process.env.VITEST_JSON_REPORT;

export default defineConfig({
	test: {
		...(report
			? { reporters: ["default", "json"], outputFile: { json: report } }
			: {}),
		coverage: {
			// What reads bytes that anybody may have written: no branch of it is untested.
			include: ["src/format/**"],
			thresholds: { 100: true },
			reporter: ["text"],
		},
	},
});
