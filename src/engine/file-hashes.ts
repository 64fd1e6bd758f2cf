import { createHash, type Hash } from "node:crypto";
import type { ChecksumAlgorithm } from "../format/checksum-file.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { Sha256 } from "../kernel/sha256.ts";
import type { HashStep, StepResult } from "./step.ts";

/** A file, and the checksum that is taken of it beside its CRCs; null where it is none. */
type Hashed = Pick<HashStep, "digest" | "algorithm">;

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
	private readonly checksums = new Map<number, Checksum>();
	/** CRC-32 so far of the range each file is in */
	private readonly crcs = new Map<number, number>();

	constructor(kernel: Kernel, buffer: ArrayBufferLike) {
		this.kernel = kernel;
		this.buffer = buffer;
	}

	/** Take the next bytes of a file. @returns ranges whose bytes have another CRC-32 than they must */
	hash(step: HashStep): StepResult["corrupt"] {
		const { digest } = step;
		const checksum = this.of(step);
		const view = (begin: number, end: number) =>
			new Uint8Array(this.buffer, step.byteOffset + begin, end - begin);
		const corrupt: StepResult["corrupt"] = [];
		let hashed = 0;
		for (const { byteOffset, byteLength, begins, ends } of step.crcs) {
			checksum.update(view(hashed, byteOffset));
			hashed = byteOffset + byteLength;
			const before = begins ? 0 : (this.crcs.get(digest) ?? 0);
			const found = checksum.update(view(byteOffset, hashed), before);
			this.crcs.set(digest, found);
			if (ends !== null && found !== ends.crc32)
				corrupt.push({ where: ends.where, expected: ends.crc32, found });
		}
		checksum.update(view(hashed, step.byteLength));
		return corrupt;
	}

	/** The checksum so far, in hex; nothing where none is taken. */
	peek(file: Hashed): string {
		return this.of(file).digest();
	}

	/** The same, after the last bytes. */
	finish(file: Hashed): string {
		const checksum = this.peek(file);
		this.checksums.delete(file.digest);
		this.crcs.delete(file.digest);
		return checksum;
	}

	private of({ digest, algorithm }: Hashed): Checksum {
		const found = this.checksums.get(digest) ?? this.open(algorithm);
		this.checksums.set(digest, found);
		return found;
	}

	private open(algorithm: ChecksumAlgorithm | null): Checksum {
		const { kernel } = this;
		const { sha256Crc32 } = kernel;
		if (algorithm === "sha256" && sha256Crc32 !== null)
			return new Sha256(kernel, sha256Crc32);
		const hash = algorithm === null ? null : createHash(algorithm);
		return new InTurn(hash, kernel);
	}
}

/** Both checksums are taken of so many bytes in turn: the second finds them in the processor's cache. */
const CACHED_BYTES = 2 ** 18;

/** A checksum of Node's, or none, and a CRC-32 after it. */
class InTurn implements Checksum {
	private readonly hash: Hash | null;
	private readonly kernel: Kernel;

	constructor(hash: Hash | null, kernel: Kernel) {
		this.hash = hash;
		this.kernel = kernel;
	}

	update(bytes: Uint8Array, before?: number): number {
		if (before === undefined) {
			this.hash?.update(bytes);
			return 0;
		}
		let crc = before;
		for (let at = 0; at < bytes.length; at += CACHED_BYTES) {
			const piece = bytes.subarray(at, at + CACHED_BYTES);
			this.hash?.update(piece);
			crc = this.kernel.crc32(piece, crc);
		}
		return crc;
	}

	digest(): string {
		return this.hash?.copy().digest("hex") ?? "";
	}
}
