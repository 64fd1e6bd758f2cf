import { createHash, type Hash } from "node:crypto";
import { crc32 } from "node:zlib";
import type { AddCounts, Kernel } from "../kernel/kernel.ts";
import type { Add } from "./slice.ts";

/** A piece of work for one thread, on bytes that lie in the shared slots. */
export type Step =
	| { kind: "add"; slotOffset: number; adds: readonly Add[] }
	| HashStep
	| { kind: "finish"; digest: number };

/** The next bytes of a file; all of a file's go to one thread. */
export interface HashStep {
	kind: "hash";
	/** names the file */
	digest: number;
	byteOffset: number;
	byteLength: number;
	/** false where only `crcs` are wanted */
	sha256: boolean;
	crcs: readonly CrcStretch[];
}

/** The part of a checked range that lies in the bytes of a step. */
export interface CrcStretch {
	/** from the start of the step's bytes */
	byteOffset: number;
	byteLength: number;
	/** whether the range begins with it; else it goes on from the step before */
	begins: boolean;
	/** what the CRC-32 must be where the range ends with it, or null */
	ends: { where: string; crc32: number } | null;
}

export interface StepResult {
	/** of the adds, tensors with results that are not finite */
	nonFinite: { tensor: string; counts: AddCounts }[];
	/** of "finish": SHA-256 in hex */
	sha256: string;
	/** of "hash": ranges whose bytes have another CRC-32 than they must */
	corrupt: { where: string; expected: number; found: number }[];
	seconds: number;
}

/** Does steps in the thread it lives in. */
export class StepRunner {
	private readonly kernel: Kernel;
	private readonly buffer: ArrayBufferLike;
	private readonly hashes = new Map<number, Hash>();
	/** CRC-32 so far of the range each file is in */
	private readonly crcs = new Map<number, number>();

	constructor(kernel: Kernel, buffer: ArrayBufferLike) {
		this.kernel = kernel;
		this.buffer = buffer;
	}

	run(step: Step): StepResult {
		const started = performance.now();
		const result: StepResult = {
			...{ nonFinite: [], sha256: "", corrupt: [], seconds: 0 },
		};
		switch (step.kind) {
			case "add":
				result.nonFinite = this.add(step.slotOffset, step.adds);
				break;
			case "hash":
				result.corrupt = this.hash(step);
				break;
			case "finish":
				result.sha256 = this.hashOf(step.digest).digest("hex");
				this.hashes.delete(step.digest);
				this.crcs.delete(step.digest);
				break;
		}
		result.seconds = (performance.now() - started) / 1000;
		return result;
	}

	private add(slotOffset: number, adds: readonly Add[]) {
		const nonFinite: StepResult["nonFinite"] = [];
		for (const { tensor, spec, base, delta, out } of adds) {
			const [a, b, c] = [base, delta, out].map((place) =>
				this.view(slotOffset + place.slotOffset, place.byteLength),
			) as [Uint8Array, Uint8Array, Uint8Array];
			const counts = this.kernel.add(spec, a, b, c);
			if (counts.nonFinite > 0) nonFinite.push({ tensor, counts });
		}
		return nonFinite;
	}

	private hash(step: HashStep): StepResult["corrupt"] {
		const { digest, byteOffset, byteLength } = step;
		if (step.sha256)
			this.hashOf(digest).update(this.view(byteOffset, byteLength));
		const corrupt: StepResult["corrupt"] = [];
		for (const stretch of step.crcs) {
			const bytes = this.view(
				byteOffset + stretch.byteOffset,
				stretch.byteLength,
			);
			const before = stretch.begins ? 0 : (this.crcs.get(digest) ?? 0);
			const found = crc32(bytes, before);
			this.crcs.set(digest, found);
			const { ends } = stretch;
			if (ends !== null && found !== ends.crc32)
				corrupt.push({ where: ends.where, expected: ends.crc32, found });
		}
		return corrupt;
	}

	private hashOf(digest: number): Hash {
		const hash = this.hashes.get(digest) ?? createHash("sha256");
		this.hashes.set(digest, hash);
		return hash;
	}

	private view(byteOffset: number, byteLength: number): Uint8Array {
		return new Uint8Array(this.buffer, byteOffset, byteLength);
	}
}
