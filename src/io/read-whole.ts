import { FormatError } from "../errors.ts";
import { openFileSource } from "./file-source.ts";

/**
 * All bytes of a small file.
 *
 * @throws {FormatError} where it is longer than `maxBytes`, or no regular file
 * @throws {LocalIoError} with the system's error as its cause
 */
export async function readWhole(
	path: string,
	maxBytes: number,
): Promise<Uint8Array> {
	const source = await openFileSource(path);
	try {
		if (source.byteLength > maxBytes)
			throw new FormatError({
				where: path,
				what: "the file is too long",
				expected: `at most ${maxBytes} bytes`,
				found: `${source.byteLength}`,
			});
		const bytes = new Uint8Array(source.byteLength);
		await source.read(0, bytes);
		return bytes;
	} finally {
		await source.close();
	}
}
