import { createHash, type Hash } from "node:crypto";
import type { ChecksumAlgorithm } from "../format/checksum-file.ts";
import type { Kernel, Sha256Crc32 } from "../kernel/kernel.ts";
import { SHA256_STATE_BYTES, Sha256 } from "../kernel/sha256.ts";
import type { HashStep, StepResult } from "./step.ts";

/** A file that is hashed, as threads tell each other of it. */
export interface HashedFile {
	/** unlike that of any other */
	number: number;
	algorithm: ChecksumAlgorithm;
	/** how far its checksums have come: any thread goes on with a CRC, and with a SHA-256 that is not Node's */
	progress: SharedArrayBuffer;
	/** whether its checksum is one of Node's, which only the thread that has begun it can go on with */
	stays: boolean;
}

/** In `progress`, behind the state of a SHA-256: the CRC-32 so far of the range the file is in. */
const CRC_OFFSET = SHA256_STATE_BYTES;

let files = 0;

/** A file of which nothing is hashed yet. @param kernel  one as the threads have it */
export function newHashedFile(
	algorithm: ChecksumAlgorithm,
	{ sha256Crc32 }: Kernel,
): HashedFile {
	const progress = new SharedArrayBuffer(CRC_OFFSET + 4);
	const isOurs = algorithm === "sha256" && sha256Crc32 !== null;
	return { number: files++, algorithm, progress, stays: !isOurs };
}

interface Checksum {
	/**
	 * @param before  CRC-32 of the bytes before these; none where it is not wanted
	 * @returns the CRC-32 of both, if it is
	 */
	update(bytes: Uint8Array, before?: number): number;
	/** in hex, of all bytes so far */
	digest(): string;
}

/** Checksums of files whose bytes lie in the shared slots, in the thread it lives in. */
export class FileHashes {
	private readonly kernel: Kernel;
	private readonly buffer: ArrayBufferLike;
	/** of the files that stay here */
	private readonly staying = new Map<number, Checksum>();

	constructor(kernel: Kernel, buffer: ArrayBufferLike) {
		this.kernel = kernel;
		this.buffer = buffer;
	}

	/** Take the next bytes of a file. @returns ranges whose bytes have another CRC-32 than they must */
	hash(step: HashStep): StepResult["corrupt"] {
		const checksum = this.of(step.file);
		const crc = new Uint32Array(step.file.progress, CRC_OFFSET, 1);
		const view = (begin: number, end: number) =>
			new Uint8Array(this.buffer, step.byteOffset + begin, end - begin);
		const corrupt: StepResult["corrupt"] = [];
		let hashed = 0;
		for (const { byteOffset, byteLength, begins, ends } of step.crcs) {
			checksum.update(view(hashed, byteOffset));
			hashed = byteOffset + byteLength;
			const before = begins ? 0 : (crc[0] as number);
			const found = checksum.update(view(byteOffset, hashed), before);
			crc[0] = found;
			if (ends !== null && found !== ends.crc32)
				corrupt.push({ where: ends.where, expected: ends.crc32, found });
		}
		checksum.update(view(hashed, step.byteLength));
		return corrupt;
	}

	/** The checksum so far, in hex. */
	peek(file: HashedFile): string {
		return this.of(file).digest();
	}

	/** The same, after the last bytes. */
	finish(file: HashedFile): string {
		const checksum = this.peek(file);
		this.staying.delete(file.number);
		return checksum;
	}

	private of(file: HashedFile): Checksum {
		if (!file.stays) return this.open(file);
		const checksum = this.staying.get(file.number) ?? this.open(file);
		this.staying.set(file.number, checksum);
		return checksum;
	}

	private open({ algorithm, stays, progress }: HashedFile): Checksum {
		const { kernel } = this;
		if (stays) return new InTurn(createHash(algorithm), kernel);
		return new Sha256(kernel, kernel.sha256Crc32 as Sha256Crc32, progress);
	}
}

/** Both checksums are taken of so many bytes in turn: the second finds them in the processor's cache. */
const CACHED_BYTES = 2 ** 18;

/** A checksum of Node's, and a CRC-32 after it. */
class InTurn implements Checksum {
	private readonly hash: Hash;
	private readonly kernel: Kernel;

	constructor(hash: Hash, kernel: Kernel) {
		this.hash = hash;
		this.kernel = kernel;
	}

	update(bytes: Uint8Array, before?: number): number {
		if (before === undefined) {
			this.hash.update(bytes);
			return 0;
		}
		let crc = before;
		for (let at = 0; at < bytes.length; at += CACHED_BYTES) {
			const piece = bytes.subarray(at, at + CACHED_BYTES);
			this.hash.update(piece);
			crc = this.kernel.crc32(piece, crc);
		}
		return crc;
	}

	digest(): string {
		return this.hash.copy().digest("hex");
	}
}
