import { defineConfig } from "vitest/config";

const report = process.env.VITEST_JSON_REPORT;

export default defineConfig({
	test: report
		? { reporters: ["default", "json"], outputFile: { json: report } }
		: {},
});
