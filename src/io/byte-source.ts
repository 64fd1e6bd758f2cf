import type { CheckedRange } from "./checked-range.ts";

/** A file, wherever it is: all reading goes through this. */
export interface ByteSource {
	/** of the file itself, which is what its checksum is of */
	readonly byteLength: number;
	/** where more can be read than the file holds, the end of that: what is made of it stands behind it */
	readonly readableLength?: number;
	/** stretches of the file whose CRC-32 it tells, in their order, none over another */
	readonly checkedRanges?: readonly CheckedRange[];
	/**
	 * Of a file that is still on its way: resolves once it is here, and is to be awaited before it is read in earnest.
	 *
	 * @throws whatever kept it from coming
	 */
	ready?(): Promise<void>;
	/**
	 * Fill `into` with the bytes from `fileOffset` on: wholly, or throw.
	 *
	 * @throws {SourceChangedError} where the file has become shorter
	 * @throws {LocalIoError}
	 */
	read(fileOffset: number, into: Uint8Array): Promise<void>;
}
