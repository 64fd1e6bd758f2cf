import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { elementByteLength } from "../tensor/dtype.ts";
import { jsKernel } from "./js.ts";
import {
	type AddCounts,
	type AddSpec,
	checkLengths,
	type Kernel,
} from "./kernel.ts";

/** As `wasm/add.ts` numbers them. */
const DTYPES = ["F16", "BF16", "F32"];
const NO_CAST = -1;

/** Operands that do not lie in the kernel's memory are copied in pieces of so many elements. */
const PIECE_ELEMENTS = 2 ** 14;
const PIECE_BYTES = PIECE_ELEMENTS * 4;

interface Exports {
	add(
		base: number,
		baseType: number,
		delta: number,
		deltaType: number,
		cast: number,
		out: number,
		outType: number,
		elementCount: number,
		subtract: number,
	): void;
	nonFiniteCount(): number;
	overflowedCount(): number;
}

/**
 * Open the WebAssembly kernel.
 *
 * @param memory  shared; operands that lie in it are not copied, and kernels of several threads may be
 *                opened on it, because the code keeps nothing there
 * @throws {Error} where the code is not there, or Node has no SIMD instructions
 */
export function openWasmKernel(memory?: WebAssembly.Memory): Kernel {
	const file = createRequire(import.meta.url).resolve("#wasm-kernel");
	const module = new WebAssembly.Module(readFileSync(file));
	const inPlace = memory ? instantiate(module, memory) : null;
	let copying: Copying | null = null;
	return {
		name: "wasm",
		add(spec, base, delta, out) {
			if (typesOf(spec) === null) return jsKernel.add(spec, base, delta, out);
			checkLengths(spec, base, delta, out);
			if (
				inPlace &&
				[base, delta, out].every((b) => b.buffer === memory?.buffer)
			)
				return addAt(inPlace, spec, [base, delta, out]);
			copying ??= new Copying(module);
			return copying.add(spec, base, delta, out);
		},
		crc32: jsKernel.crc32,
		sha256Crc32: null,
		dropPages: null,
	};
}

function instantiate(
	module: WebAssembly.Module,
	memory: WebAssembly.Memory,
): Exports {
	const { exports } = new WebAssembly.Instance(module, { env: { memory } });
	return exports as unknown as Exports;
}

/** Null where a type is none of the kernel's. */
function typesOf({ base, delta, cast, out }: AddSpec) {
	const numbers = [base, delta, out].map((dtype) => DTYPES.indexOf(dtype));
	const castNumber = cast === null ? NO_CAST : DTYPES.indexOf(cast);
	if (numbers.includes(-1) || (cast !== null && castNumber < 0)) return null;
	return [...numbers, castNumber] as [number, number, number, number];
}

/** Add operands that lie in the instance's memory. */
function addAt(
	instance: Exports,
	spec: AddSpec,
	[base, delta, out]: readonly [Uint8Array, Uint8Array, Uint8Array],
): AddCounts {
	const types = typesOf(spec);
	if (types === null) throw new RangeError("no types of this kernel");
	const [baseType, deltaType, outType, cast] = types;
	instance.add(
		...([base.byteOffset, baseType, delta.byteOffset, deltaType] as const),
		...([cast, out.byteOffset, outType] as const),
		out.length / elementByteLength(spec.out),
		spec.subtract ? 1 : 0,
	);
	return {
		nonFinite: instance.nonFiniteCount(),
		overflowed: instance.overflowedCount(),
	};
}

/** Adds operands that lie anywhere, through a small memory of its own. */
class Copying {
	private readonly instance: Exports;
	private readonly pieces: Uint8Array[];

	constructor(module: WebAssembly.Module) {
		const pages = (3 * PIECE_BYTES) / 2 ** 16;
		const limits = { initial: pages, maximum: pages, shared: true };
		const memory = new WebAssembly.Memory(limits);
		this.instance = instantiate(module, memory);
		this.pieces = [0, 1, 2].map(
			(i) => new Uint8Array(memory.buffer, i * PIECE_BYTES, PIECE_BYTES),
		);
	}

	add(
		spec: AddSpec,
		base: Uint8Array,
		delta: Uint8Array,
		out: Uint8Array,
	): AddCounts {
		const [baseStep, deltaStep, outStep] = [
			elementByteLength(spec.base),
			elementByteLength(spec.delta),
			elementByteLength(spec.out),
		];
		const counts = { nonFinite: 0, overflowed: 0 };
		const elementCount = out.length / outStep;
		for (let first = 0; first < elementCount; first += PIECE_ELEMENTS) {
			const count = Math.min(PIECE_ELEMENTS, elementCount - first);
			const [a, b, c] = [baseStep, deltaStep, outStep].map((step, i) =>
				this.pieces[i]?.subarray(0, count * step),
			) as [Uint8Array, Uint8Array, Uint8Array];
			a.set(base.subarray(first * baseStep, (first + count) * baseStep));
			b.set(delta.subarray(first * deltaStep, (first + count) * deltaStep));
			const some = addAt(this.instance, spec, [a, b, c]);
			out.set(c, first * outStep);
			counts.nonFinite += some.nonFinite;
			counts.overflowed += some.overflowed;
		}
		return counts;
	}
}
