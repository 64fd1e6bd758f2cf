import {
	countDifferences,
	createDifferenceScratch,
	type DifferenceScratch,
	type Differences,
} from "../kernel/differences.ts";
import type { Kernel } from "../kernel/kernel.ts";
import {
	countUnrestored,
	createRestorationScratch,
	type RestorationScratch,
} from "../kernel/restoration.ts";
import { sumElements } from "../kernel/sum-elements.ts";
import { xorBytes } from "../kernel/xor.ts";
import type { Dtype } from "../tensor/dtype.ts";
import { FileHashes, type HashedFile } from "./file-hashes.ts";
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
			/** bytes whose CRC-32 is wanted, each as if it stood alone */
			checked: readonly Place[];
	  }
	| {
			kind: "compare";
			dtype: Dtype;
			/** where the elements of both sides begin */
			byteOffsets: readonly [number, number];
			/** of either side */
			byteLength: number;
	  }
	| HashStep
	/** tell the checksum of the bytes so far, and at the end of the file be rid of it */
	| { kind: "peek" | "finish"; file: HashedFile };

/** The next bytes of a file. */
export interface HashStep {
	kind: "hash";
	file: HashedFile;
	byteOffset: number;
	byteLength: number;
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
	/** of "compare" */
	differences: Differences;
	/** of "add": of each of `checked` */
	crc32s: number[];
	/** of "peek" and "finish": in hex */
	checksum: string;
	/** of "hash": ranges whose bytes have another CRC-32 than they must */
	corrupt: { where: string; expected: number; found: number }[];
	seconds: number;
}

/** Does steps in the thread it lives in. */
export class StepRunner {
	private readonly kernel: Kernel;
	private readonly buffer: ArrayBufferLike;
	private scratch: RestorationScratch | null = null;
	private differenceScratch: DifferenceScratch | null = null;
	private readonly hashes: FileHashes;

	constructor(kernel: Kernel, buffer: ArrayBufferLike) {
		this.kernel = kernel;
		this.buffer = buffer;
		this.hashes = new FileHashes(kernel, buffer);
	}

	run(step: Step): StepResult {
		const started = performance.now();
		const result: StepResult = {
			nonFinite: [],
			unrestored: [],
			sums: [],
			crc32s: [],
			differences: { elements: 0, maxUlp: 0 },
			checksum: "",
			corrupt: [],
			seconds: 0,
		};
		switch (step.kind) {
			case "add":
				this.make(step, result);
				break;
			case "compare":
				result.differences = this.compare(step);
				break;
			case "hash":
				result.corrupt = this.hashes.hash(step);
				break;
			case "peek":
				result.checksum = this.hashes.peek(step.file);
				break;
			case "finish":
				result.checksum = this.hashes.finish(step.file);
				break;
		}
		result.seconds = (performance.now() - started) / 1000;
		return result;
	}

	private make(
		{ slotOffset, parts, sum, checked }: Extract<Step, { kind: "add" }>,
		result: StepResult,
	): void {
		const at = ({ slotOffset: within, byteLength }: Place) =>
			this.view(slotOffset + within, byteLength);
		result.crc32s = checked.map((place) => this.kernel.crc32(at(place), 0));
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

	private compare(step: Extract<Step, { kind: "compare" }>): Differences {
		const { dtype, byteOffsets, byteLength } = step;
		const [a, b] = byteOffsets.map((at) => this.view(at, byteLength));
		this.differenceScratch ??= createDifferenceScratch();
		return countDifferences(
			...([dtype, a as Uint8Array, b as Uint8Array] as const),
			this.differenceScratch,
		);
	}

	private view(byteOffset: number, byteLength: number): Uint8Array {
		return new Uint8Array(this.buffer, byteOffset, byteLength);
	}
}
