import { createHash } from "node:crypto";
import { UsageError } from "../errors.ts";
import { jsKernel } from "./js.ts";
import { KERNEL_NAMES, type Kernel, type KernelName } from "./kernel.ts";
import { openNativeKernel } from "./native.ts";
import { Sha256 } from "./sha256.ts";
import { openWasmKernel } from "./wasm.ts";

/** How each kernel is opened; each throws an Error that says why where it does not run here. */
const OPEN: Record<KernelName, (memory?: WebAssembly.Memory) => Kernel> = {
	native: () => openNativeKernel(),
	wasm: openWasmKernel,
	js: () => jsKernel,
};

/** Names the user's environment, before any flag. */
const VARIABLE = "MERGE_DELTA_KERNEL";

/** @param memory  where the operands will lie, if it is known */
export function openKernel(
	name: KernelName,
	memory?: WebAssembly.Memory,
): Kernel {
	return OPEN[name](memory);
}

/**
 * The kernel to use: the one that is named, or else the fastest that runs here.
 *
 * @throws {UsageError} where one is named that does not
 */
export function chooseKernel(name: KernelName | "auto"): KernelName {
	if (name !== "auto") return insist(name, "--kernel");
	const wished = process.env[VARIABLE];
	if (wished && wished !== "auto") return insist(wished, VARIABLE);
	return KERNEL_NAMES.find((each) => whyNot(each) === null) ?? "js";
}

/** Why a kernel does not run here, or not rightly; null where it does. */
export function whyNot(name: KernelName): string | null {
	try {
		return whatIsWrong(openKernel(name));
	} catch (error) {
		return error instanceof Error ? error.message : String(error);
	}
}

function insist(name: string, where: string): KernelName {
	const known = KERNEL_NAMES.find((each) => each === name);
	const reason = known ? whyNot(known) : "there is no such kernel";
	if (known && reason === null) return known;
	throw new UsageError({
		where,
		what: `cannot use the kernel ${JSON.stringify(name)}: ${reason}`,
		remedy: "Leave the choice to merge-delta, or see merge-delta doctor",
	});
}

/** A kernel that was built wrongly must not be used: a few sums that rounding errors would show, and checksums. */
export function whatIsWrong(kernel: Kernel): string | null {
	const bytes = Uint8Array.from({ length: 4096 }, (_, i) => (i * 167) >> 2);
	const wrong = findWrongChecksum(kernel, bytes) ?? findWrongSum(kernel, bytes);
	return wrong === null ? null : `it ${wrong} wrongly: build it again`;
}

function findWrongChecksum(kernel: Kernel, bytes: Uint8Array): string | null {
	const { sha256Crc32 } = kernel;
	const crc = jsKernel.crc32(bytes, 1);
	if (kernel.crc32(bytes, 1) !== crc) return "takes CRCs";
	if (sha256Crc32 === null) return null;
	const sha256 = new Sha256(kernel, sha256Crc32);
	const found = sha256.update(bytes, 1);
	const expected = createHash("sha256").update(bytes).digest("hex");
	const isRight = found === crc && sha256.digest() === expected;
	return isRight ? null : "takes SHA-256";
}

function findWrongSum(kernel: Kernel, bytes: Uint8Array): string | null {
	const dtypes = ["F16", "BF16", "F32"] as const;
	const specs = dtypes.flatMap((dtype) => {
		const same = { base: dtype, delta: dtype, cast: null, out: dtype };
		return [false, true].map((subtract) => ({ ...same, subtract }));
	});
	for (const spec of specs) {
		const [found, expected] = [new Uint8Array(4000), new Uint8Array(4000)];
		const [base, delta] = [bytes.subarray(0, 4000), bytes.subarray(96)];
		kernel.add(spec, base, delta, found);
		jsKernel.add(spec, base, delta, expected);
		if (Buffer.compare(found, expected) !== 0)
			return `${spec.subtract ? "subtracts" : "adds"} ${spec.out}`;
	}
	return null;
}
