import { jsKernel } from "../../src/kernel/js.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { openNativeKernel } from "../../src/kernel/native.ts";
import { openWasmKernel } from "../../src/kernel/wasm.ts";

/** Every kernel that runs here, the native one with each set of instructions that the processor has. */
export const KERNELS: readonly { title: string; kernel: Kernel }[] = [
	{ title: "js", kernel: jsKernel },
	{ title: "wasm", kernel: openWasmKernel() },
	...nativeKernels(),
];

function nativeKernels() {
	let levels: readonly string[] = [];
	try {
		({ levels } = openNativeKernel()); // also one that adds wrongly, which the tests must see
	} catch (error) {
		console.warn(`native kernel not tested: ${error}`);
	}
	return levels.map((level) => {
		process.env.MERGE_DELTA_SIMD = level;
		const kernel = openNativeKernel();
		delete process.env.MERGE_DELTA_SIMD;
		return { title: `native ${kernel.level}`, kernel };
	});
}

/** As many bytes in a memory that kernels share, as an engine's slots are. */
export function sharedMemory(byteLength: number): WebAssembly.Memory {
	const pages = Math.ceil(byteLength / 2 ** 16);
	const limits = { initial: pages, maximum: pages, shared: true };
	return new WebAssembly.Memory(limits);
}
