import { createHash, type Hash } from "node:crypto";
import type { Kernel } from "../kernel/kernel.ts";
import {
	countUnrestored,
	createRestorationScratch,
	type RestorationScratch,
} from "../kernel/restoration.ts";
import { sumElements } from "../kernel/sum-elements.ts";
import { xorBytes } from "../kernel/xor.ts";
import type { Part, Place } from "./slice.ts";
import type { Counts } from "./tally.ts";

/** A piece of work for one thread, on bytes that lie in the shared slots. */
export type Step =
	| {
			kind: "add";
			slotOffset: number;
			parts: readonly Part[];
			/** whether the elements of the results are to be added up */
			sum: boolean;
	  }
	| HashStep
	/** tell the SHA-256 of the bytes so far, and at the end of the file be rid of it */
	| { kind: "peek" | "finish"; digest: number };

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

/** `Counts` are of the adds. */
export interface StepResult extends Counts {
	/** of "peek" and "finish": SHA-256 in hex */
	sha256: string;
	/** of "hash": ranges whose bytes have another CRC-32 than they must */
	corrupt: { where: string; expected: number; found: number }[];
	seconds: number;
}

/** Does steps in the thread it lives in. */
export class StepRunner {
	private readonly kernel: Kernel;
	private readonly buffer: ArrayBufferLike;
	private scratch: RestorationScratch | null = null;
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
			...{ nonFinite: [], unrestored: [], sums: [] },
			...{ sha256: "", corrupt: [], seconds: 0 },
		};
		switch (step.kind) {
			case "add":
				this.make(step, result);
				break;
			case "hash":
				result.corrupt = this.hash(step);
				break;
			case "peek":
				result.sha256 = this.hashOf(step.digest).copy().digest("hex");
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

	private make(
		{ slotOffset, parts, sum }: Extract<Step, { kind: "add" }>,
		result: StepResult,
	): void {
		const at = ({ slotOffset: within, byteLength }: Place) =>
			this.view(slotOffset + within, byteLength);
		for (const part of parts) {
			const [first, second] = part.operands.map(at);
			const out = at(part.out);
			if (part.op === "copy") out.set(first as Uint8Array);
			else if (part.op === "xor")
				xorBytes(first as Uint8Array, second as Uint8Array, out);
			else
				this.add(
					...([part, first as Uint8Array, second as Uint8Array] as const),
					...([out, result] as const),
				);
			if (sum && part.dtype !== null)
				result.sums.push({
					tensor: part.tensor,
					sum: sumElements(part.dtype, out),
				});
		}
	}

	private add(
		{ tensor, spec, check }: Extract<Part, { op: "add" }>,
		base: Uint8Array,
		delta: Uint8Array,
		out: Uint8Array,
		{ nonFinite, unrestored }: StepResult,
	): void {
		const counts = this.kernel.add(spec, base, delta, out);
		if (counts.nonFinite > 0) nonFinite.push({ tensor, counts });
		if (check === null) return;
		this.scratch ??= createRestorationScratch();
		// What was subtracted from is what the merge shall give back.
		const lost = countUnrestored(
			...([check, base, out, delta, this.kernel, this.scratch] as const),
		);
		if (lost.elements > 0) unrestored.push({ tensor, counts: lost });
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
			const found = this.kernel.crc32(bytes, before);
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
