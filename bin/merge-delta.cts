#!/usr/bin/env node
// Node reads this once, before it loads its first ES module: as many file operations as a disk can use at once.
process.env.UV_THREADPOOL_SIZE ??= "24";
import("../src/cli/main.ts").then(({ start }) => start());
