/** A file, wherever it is: all reading goes through this. */
export interface ByteSource {
	readonly byteLength: number;
	/**
	 * Fill `into` with the bytes from `fileOffset` on: wholly, or throw.
	 *
	 * @throws {SourceChangedError} where the file has become shorter
	 * @throws {LocalIoError}
	 */
	read(fileOffset: number, into: Uint8Array): Promise<void>;
}
