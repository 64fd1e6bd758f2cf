import { createHash, type Hash } from "node:crypto";
import type { AddCounts, Kernel } from "../kernel/kernel.ts";
import {
	countUnrestored,
	createRestorationScratch,
	type RestorationScratch,
	type Unrestored,
} from "../kernel/restoration.ts";
import type { Add } from "./slice.ts";

/** A piece of work for one thread, on bytes that lie in the shared slots. */
export type Step =
	| { kind: "add"; slotOffset: number; adds: readonly Add[] }
	/** `digest` names a file; its bytes come in order, all to one thread */
	| { kind: "hash"; digest: number; byteOffset: number; byteLength: number }
	| { kind: "finish"; digest: number };

export interface StepResult {
	/** of the adds, tensors with results that are not finite */
	nonFinite: { tensor: string; counts: AddCounts }[];
	/** of the adds that are checked, tensors with elements that the merge would not give back */
	unrestored: { tensor: string; counts: Unrestored }[];
	/** of "finish": SHA-256 in hex */
	sha256: string;
	seconds: number;
}

/** Does steps in the thread it lives in. */
export class StepRunner {
	private readonly kernel: Kernel;
	private readonly buffer: ArrayBufferLike;
	private scratch: RestorationScratch | null = null;
	private readonly hashes = new Map<number, Hash>();

	constructor(kernel: Kernel, buffer: ArrayBufferLike) {
		this.kernel = kernel;
		this.buffer = buffer;
	}

	run(step: Step): StepResult {
		const started = performance.now();
		const result: StepResult = {
			...{ nonFinite: [], unrestored: [], sha256: "", seconds: 0 },
		};
		switch (step.kind) {
			case "add":
				this.add(step.slotOffset, step.adds, result);
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

	private add(slotOffset: number, adds: readonly Add[], result: StepResult) {
		for (const { tensor, spec, base, delta, out, check } of adds) {
			const [a, b, c] = [base, delta, out].map((place) =>
				this.view(slotOffset + place.slotOffset, place.byteLength),
			) as [Uint8Array, Uint8Array, Uint8Array];
			const counts = this.kernel.add(spec, a, b, c);
			if (counts.nonFinite > 0) result.nonFinite.push({ tensor, counts });
			if (check === null) continue;
			this.scratch ??= createRestorationScratch();
			// What was subtracted from is what the merge shall give back.
			const unrestored = countUnrestored(
				...([check, a, c, b, this.kernel, this.scratch] as const),
			);
			if (unrestored.elements > 0)
				result.unrestored.push({ tensor, counts: unrestored });
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
