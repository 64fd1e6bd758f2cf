import { expect, test, vi } from "vitest";
import { TorchSource } from "../../src/checkpoint/torch-source.ts";
import { memoryFile } from "../format/memory-file.ts";

test("a torch file passes on how it is to be read, and what will be read twice", async () => {
	const file = memoryFile(Buffer.from("merge-delta"));
	const [chooseReading, read] = [
		vi.spyOn(file, "chooseReading"),
		vi.spyOn(file, "read"),
	];
	const source = new TorchSource(file, [], []);
	const dropPages = () => {};
	await source.chooseReading("on", dropPages);
	expect(chooseReading.mock.calls).toEqual([["on", dropPages]]);
	const into = new Uint8Array(5);
	await source.read(0, into, true);
	expect(read.mock.calls).toEqual([[0, into, true]]);
});
