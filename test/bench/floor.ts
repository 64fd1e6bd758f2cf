import { constants } from "node:fs";
import { mkdir, open, readdir } from "node:fs/promises";
import path from "node:path";
import { report } from "./usage.mjs";

/** One way to move the bytes of a merge, with no arithmetic and no hash. */
export interface FloorWay {
	sliceMiB: number;
	/** slices in flight */
	depth: number;
	directReads: boolean;
	directWrites: boolean;
}

export const FLOOR_WAYS: readonly FloorWay[] = [
	{ sliceMiB: 1, depth: 8, directReads: false, directWrites: true },
	{ sliceMiB: 4, depth: 4, directReads: false, directWrites: true },
	{ sliceMiB: 4, depth: 4, directReads: false, directWrites: false },
	{ sliceMiB: 8, depth: 4, directReads: false, directWrites: true },
	{ sliceMiB: 8, depth: 4, directReads: false, directWrites: false },
	{ sliceMiB: 4, depth: 4, directReads: true, directWrites: true },
	{ sliceMiB: 4, depth: 16, directReads: true, directWrites: true },
	{ sliceMiB: 8, depth: 8, directReads: true, directWrites: true },
	{ sliceMiB: 16, depth: 4, directReads: true, directWrites: true },
	{ sliceMiB: 16, depth: 16, directReads: true, directWrites: true },
];

export function nameOf(way: FloorWay): string {
	const how = (direct: boolean) => (direct ? "direct" : "cached");
	return `${way.depth} × ${way.sliceMiB} MiB, ${how(way.directReads)} reads, ${how(way.directWrites)} writes`;
}

const DIRECT = constants.O_DIRECT ?? 0;
const ALIGNMENT = 4096;

/** Read both models and write as many bytes as one of them, an fsync of each file at its end. */
async function moveModels(
	base: string,
	delta: string,
	out: string,
	way: FloorWay,
) {
	await mkdir(out);
	const sliceBytes = way.sliceMiB * 2 ** 20;
	const pages = (way.depth * 2 * sliceBytes) / 2 ** 16;
	const limits = { initial: pages, maximum: pages, shared: true };
	const { buffer } = new WebAssembly.Memory(limits); // begins at a page
	for (const name of await readdir(base)) {
		if (!name.endsWith(".safetensors")) continue;
		const reading = constants.O_RDONLY | (way.directReads ? DIRECT : 0);
		const writing = constants.O_CREAT | constants.O_WRONLY;
		const [from, beside, to] = [
			await open(path.join(base, name), reading),
			await open(path.join(delta, name), reading),
			await open(
				path.join(out, name),
				writing | (way.directWrites ? DIRECT : 0),
			),
		];
		const { size } = await from.stat();
		// Whole blocks; the tail is less than a ten-thousandth of any model here.
		const end = size - (size % ALIGNMENT);
		let next = 0;
		const lane = async (_: unknown, lane: number) => {
			const at = lane * 2 * sliceBytes;
			const a = new Uint8Array(buffer, at, sliceBytes);
			const b = new Uint8Array(buffer, at + sliceBytes, sliceBytes);
			while (next < end) {
				const fileOffset = next;
				next += sliceBytes;
				const length = Math.min(sliceBytes, end - fileOffset);
				await Promise.all([
					from.read(a, 0, length, fileOffset),
					beside.read(b, 0, length, fileOffset),
				]);
				await to.write(a, 0, length, fileOffset);
			}
		};
		await Promise.all(Array.from({ length: way.depth }, lane));
		await to.sync();
		for (const file of [from, beside, to]) await file.close();
	}
}

if (process.argv[1]?.endsWith("floor.ts")) {
	const [base, delta, out, way] = process.argv.slice(2) as [
		string,
		string,
		string,
		string,
	];
	await report(() => moveModels(base, delta, out, JSON.parse(way)));
}
