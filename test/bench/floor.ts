import { constants } from "node:fs";
import { type FileHandle, open, readdir } from "node:fs/promises";
import path from "node:path";

/** What the machine needs to move the same bytes with no arithmetic and no hash. */
export interface Floor {
	seconds: number;
	/** how the best was reached */
	sliceBytes: number;
	depth: number;
}

export const FLOOR_WAYS = [
	{ sliceBytes: 2 ** 22, depth: 4 },
	{ sliceBytes: 2 ** 24, depth: 2 },
	{ sliceBytes: 2 ** 24, depth: 8 },
] as const;

/**
 * Read both models and write as many bytes as one of them, with plain positional calls, `depth` slices in
 * flight, and an fsync of each file at its end.
 */
export async function moveBytes(
	models: { base: string; delta: string },
	out: string,
	{ sliceBytes, depth }: { sliceBytes: number; depth: number },
): Promise<number> {
	const started = performance.now();
	for (const name of await readdir(models.base)) {
		if (!name.endsWith(".safetensors")) continue;
		const [base, delta] = await Promise.all([
			open(path.join(models.base, name)),
			open(path.join(models.delta, name)),
		]);
		const to = await open(
			path.join(out, name),
			constants.O_CREAT | constants.O_WRONLY | constants.O_EXCL,
		);
		await moveFile(base, delta, to, sliceBytes, depth);
		await to.sync();
		await Promise.all([base.close(), delta.close(), to.close()]);
	}
	return (performance.now() - started) / 1000;
}

async function moveFile(
	base: FileHandle,
	delta: FileHandle,
	to: FileHandle,
	sliceBytes: number,
	depth: number,
) {
	const { size } = await base.stat();
	let next = 0;
	const lane = async () => {
		const [a, b] = [Buffer.alloc(sliceBytes), Buffer.alloc(sliceBytes)];
		while (next < size) {
			const at = next;
			next += sliceBytes;
			const length = Math.min(sliceBytes, size - at);
			await Promise.all([
				base.read(a, 0, length, at),
				delta.read(b, 0, length, at),
			]);
			await to.write(a, 0, length, at);
		}
	};
	await Promise.all(Array.from({ length: depth }, lane));
}
