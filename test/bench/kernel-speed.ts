import type { AddSpec } from "../../src/kernel/kernel.ts";
import { elementByteLength } from "../../src/tensor/dtype.ts";
import { KERNELS, sharedMemory } from "../kernel/kernels.ts";

export interface KernelSpeed {
	kernel: string;
	sum: string;
	/** of output, on one core, operands in cache */
	gbPerSecond: number;
}

const PAIRS: readonly Omit<AddSpec, "subtract">[] = [
	{ base: "F16", delta: "F16", cast: null, out: "F16" },
	{ base: "BF16", delta: "BF16", cast: null, out: "BF16" },
	{ base: "F32", delta: "F32", cast: null, out: "F32" },
	{ base: "F16", delta: "F32", cast: null, out: "F32" },
	{ base: "F32", delta: "F32", cast: "F16", out: "F16" },
];
const SPECS: readonly AddSpec[] = PAIRS.flatMap((pair) =>
	[false, true].map((subtract) => ({ ...pair, subtract })),
);
const ELEMENTS = 2 ** 16;
const ROUNDS = 200;

/** How fast each kernel adds, alone: the best of many rounds over 64 Ki elements. */
export function measureKernels(): KernelSpeed[] {
	const memory = sharedMemory(ELEMENTS * 12);
	const speeds: KernelSpeed[] = [];
	for (const { title, kernel } of KERNELS)
		for (const spec of SPECS) {
			const [base, delta, out] = (["base", "delta", "out"] as const).map(
				(side, i) => {
					const length = ELEMENTS * elementByteLength(spec[side]);
					return new Uint8Array(memory.buffer, i * ELEMENTS * 4, length);
				},
			) as [Uint8Array, Uint8Array, Uint8Array];
			// Numbers between 2^-14 and 4 in binary16: as weights are.
			for (const bytes of [base, delta])
				for (let i = 0; i < bytes.length; i++)
					bytes[i] = 0x04 | ((i * 37) & 0x3b);
			const { name } = kernel;
			const rounds = name === "js" ? ROUNDS / 10 : ROUNDS;
			let best = Number.POSITIVE_INFINITY;
			for (let i = 0; i < rounds; i++) {
				const started = performance.now();
				kernel.add(spec, base, delta, out);
				best = Math.min(best, performance.now() - started);
			}
			const cast = spec.cast ? ` as ${spec.cast}` : "";
			const sum = `${spec.delta} ${spec.subtract ? "−" : "+"} ${spec.base}${cast} → ${spec.out}`;
			speeds.push({ kernel: title, sum, gbPerSecond: out.length / best / 1e6 });
		}
	return speeds;
}
