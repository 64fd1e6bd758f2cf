import type { CheckedRange } from "./checked-range.ts";

/** A file that passes once, from its first byte to its last. What has passed can be read again, at a price. */
export interface PassingFile {
	/** Fill `into` as {@link ByteSource.read} does, whatever passes. */
	readAgain(fileOffset: number, into: Uint8Array): Promise<void>;
	/**
	 * Let the rest pass.
	 *
	 * @returns its SHA-256, in hex, once its checksum is the one that was published
	 * @throws {VerificationError} where it is another
	 */
	finish(): Promise<string>;
	/** The same where it is known to be right: then it need not pass, if what was published tells its SHA-256. */
	trust(): Promise<string>;
}

/** A file, wherever it is: all reading goes through this. */
export interface ByteSource {
	/** of the file itself, which is what its checksum is of */
	readonly byteLength: number;
	/** where more can be read than the file holds, the end of that: what is made of it stands behind it */
	readonly readableLength?: number;
	/** stretches of the file whose CRC-32 it tells, in their order, none over another */
	readonly checkedRanges?: readonly CheckedRange[];
	/** of a file that is stored nowhere: best read in the order of its bytes */
	readonly passing?: PassingFile | undefined;
	/**
	 * Of a file that is fetched: resolves once it is here, and is to be awaited before it is read in earnest. Undefined
	 * for one that was here from the start.
	 *
	 * @throws whatever kept it from coming
	 */
	readonly ready?: (() => Promise<void>) | undefined;
	/**
	 * Fill `into` with the bytes from `fileOffset` on: wholly, or throw.
	 *
	 * @param isOneOfTwo  whether these bytes are read twice, so that a page cache should have them meanwhile
	 * @throws {SourceChangedError} where the file has become shorter
	 * @throws {LocalIoError}
	 */
	read(
		fileOffset: number,
		into: Uint8Array,
		isOneOfTwo?: boolean,
	): Promise<void>;
}
