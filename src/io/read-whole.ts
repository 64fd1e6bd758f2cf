import { FormatError } from "../errors.ts";
import { type FileSource, openFileSource } from "./file-source.ts";

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
		return await readAll(source, maxBytes);
	} finally {
		await source.close();
	}
}

/**
 * The same of a file that is open.
 *
 * @param what  it is, for messages
 */
export async function readAll(
	source: FileSource,
	maxBytes: number,
	what = "file",
): Promise<Uint8Array> {
	const { byteLength } = source;
	if (byteLength > maxBytes)
		throw new FormatError({
			where: source.path,
			what: `the ${what} is too long`,
			expected: `at most ${maxBytes} bytes`,
			found: `${byteLength}`,
		});
	const bytes = new Uint8Array(byteLength);
	await source.read(0, bytes);
	return bytes;
}
