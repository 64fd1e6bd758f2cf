import { throwIfAborted } from "../errors.ts";
import type { Digest } from "./digest.ts";
import type { Engine } from "./engine.ts";

const READ_BYTES = 2 ** 22;

/** What can be read, such as a `ByteSource`. */
export interface Readable {
	read(fileOffset: number, into: Uint8Array): Promise<void>;
}

/**
 * SHA-256 of a whole file, in hex; several files may be under way in one engine.
 *
 * @param where  the file, for messages
 */
export async function digestFile(
	engine: Engine,
	source: Readable & { byteLength: number },
	where: string,
): Promise<string> {
	const digest = engine.openDigest();
	await digestStretch(engine, digest, source, where, [0, source.byteLength]);
	return digest.finish();
}

/** Give the bytes `[begin, end)` of a file to a digest. */
export async function digestStretch(
	engine: Engine,
	digest: Digest,
	source: Readable,
	where: string,
	[begin, end]: readonly [number, number],
): Promise<void> {
	const { slots, options } = engine;
	const step = Math.min(READ_BYTES, slots.slotBytes);
	const running = new Set<Promise<void>>();
	let failed: { error: unknown } | null = null;
	for (let at = begin; at < end && !failed; at += step) {
		const slot = await slots.take();
		const place = digest.takePlace();
		const bytes = slot.view(0, Math.min(step, end - at));
		const work = (async () => {
			throwIfAborted(options.signal, where);
			await source.read(at, bytes);
			await place.hash(bytes.byteOffset, bytes.length);
		})()
			.catch((error) => {
				failed ??= { error };
			})
			.finally(() => {
				place.skip();
				slots.give(slot);
				running.delete(work);
			});
		running.add(work);
	}
	await Promise.all(running);
	if (failed) throw (failed as { error: unknown }).error;
}
