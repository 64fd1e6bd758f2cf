import { createHash, type Hash } from "node:crypto";
import type { AddCounts, Kernel } from "../kernel/kernel.ts";
import { sumElements } from "../kernel/sum-elements.ts";
import { xorBytes } from "../kernel/xor.ts";
import type { Part, Place } from "./slice.ts";

/** A piece of work for one thread, on bytes that lie in the shared slots. */
export type Step =
	| {
			kind: "add";
			slotOffset: number;
			parts: readonly Part[];
			/** whether the elements of the results are to be added up */
			sum: boolean;
	  }
	/** `digest` names a file; its bytes come in order, all to one thread */
	| { kind: "hash"; digest: number; byteOffset: number; byteLength: number }
	| { kind: "finish"; digest: number };

export interface StepResult {
	/** of the adds, tensors with results that are not finite */
	nonFinite: { tensor: string; counts: AddCounts }[];
	/** of the adds, where asked for: the elements of each, added up */
	sums: { tensor: string; sum: number }[];
	/** of "finish": SHA-256 in hex */
	sha256: string;
	seconds: number;
}

/** Does steps in the thread it lives in. */
export class StepRunner {
	private readonly kernel: Kernel;
	private readonly buffer: ArrayBufferLike;
	private readonly hashes = new Map<number, Hash>();

	constructor(kernel: Kernel, buffer: ArrayBufferLike) {
		this.kernel = kernel;
		this.buffer = buffer;
	}

	run(step: Step): StepResult {
		const started = performance.now();
		const result: StepResult = {
			...{ nonFinite: [], sums: [], sha256: "", seconds: 0 },
		};
		switch (step.kind) {
			case "add":
				this.make(step, result);
				break;
			case "hash":
				this.hashOf(step.digest).update(
					this.view(step.byteOffset, step.byteLength),
				);
				break;
			case "finish":
				result.sha256 = this.hashOf(step.digest).digest("hex");
				this.hashes.delete(step.digest);
				break;
		}
		result.seconds = (performance.now() - started) / 1000;
		return result;
	}

	private make(
		{ slotOffset, parts, sum }: Extract<Step, { kind: "add" }>,
		{ nonFinite, sums }: StepResult,
	): void {
		const at = ({ slotOffset: within, byteLength }: Place) =>
			this.view(slotOffset + within, byteLength);
		for (const part of parts) {
			const [first, second] = part.operands.map(at);
			const out = at(part.out);
			if (part.op === "copy") out.set(first as Uint8Array);
			else if (part.op === "xor")
				xorBytes(first as Uint8Array, second as Uint8Array, out);
			else {
				const [base, delta] = [first as Uint8Array, second as Uint8Array];
				const counts = this.kernel.add(part.spec, base, delta, out);
				if (counts.nonFinite > 0)
					nonFinite.push({ tensor: part.tensor, counts });
			}
			if (sum && part.dtype !== null)
				sums.push({
					tensor: part.tensor,
					sum: sumElements(part.dtype, out),
				});
		}
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
