#!/usr/bin/env node
// Node reads this once, before it loads its first ES module: as many file operations as a disk can use at once.
process.env.UV_THREADPOOL_SIZE ??= "24";
import("../src/cli/main.ts")
	.then(async ({ main }) => {
		process.exitCode = await main(process.argv.slice(2));
		// A name that is looked up and a connection that is made cannot be called off, and keep the process.
		if (process.exitCode !== 0) setTimeout(() => process.exit(), 1000).unref();
	})
	.catch((error) => {
		// Where too few files may be open Node says so, or finds no module: the machine's fault, otherwise ours.
		const isLocal = /^(E[A-Z]+|ERR_MODULE_NOT_FOUND)$/.test(error?.code);
		const remedy = "Is it whole, and may enough files be open (ulimit -n)?";
		console.error(
			isLocal
				? `error merge-delta: loading failed (${error.message}). ${remedy}`
				: error,
		);
		process.exitCode = isLocal ? 6 : 70;
	});
