import { throwIfAborted } from "../errors.ts";
import type { ByteSource } from "../io/byte-source.ts";
import type { Engine } from "./engine.ts";

const READ_BYTES = 2 ** 22;

/**
 * SHA-256 of a whole file, in hex; several files may be under way in one engine.
 *
 * @param where  the file, for messages
 */
export async function digestFile(
	engine: Engine,
	source: ByteSource,
	where: string,
): Promise<string> {
	const { slots, options } = engine;
	const digest = engine.openDigest();
	const step = Math.min(READ_BYTES, slots.slotBytes);
	const running = new Set<Promise<void>>();
	let failed: { error: unknown } | null = null;
	for (let at = 0; at < source.byteLength && !failed; at += step) {
		const slot = await slots.take();
		const place = digest.takePlace();
		const bytes = slot.view(0, Math.min(step, source.byteLength - at));
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
	return digest.finish();
}
