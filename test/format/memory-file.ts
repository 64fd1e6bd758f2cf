import type { FileSource } from "../../src/io/file-source.ts";

/** A torch file of these bytes; a read beyond them is a fault of the reader. */
export function memoryFile(bytes: Buffer): FileSource {
	return {
		path: "pytorch_model.bin",
		identity: "1",
		byteLength: bytes.length,
		async read(fileOffset, into) {
			if (fileOffset < 0 || fileOffset + into.length > bytes.length)
				throw new RangeError(`a read of ${into.length} at ${fileOffset}`);
			bytes.copy(into, 0, fileOffset);
		},
		isDirect: false,
		chooseReading: async () => {},
		checkUnchanged: async () => {},
		close: async () => {},
	};
}
