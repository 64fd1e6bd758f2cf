import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { crc32 } from "node:zlib";
import { jsKernel } from "./js.ts";
import {
	type AddSpec,
	checkLengths,
	type DropPages,
	type Kernel,
	type Sha256Crc32,
} from "./kernel.ts";
import { nativeKernelFile } from "./native/location.ts";

/** The interface of `native/addon.c`; another version is refused. */
const INTERFACE_VERSION = 5;
/** As `native/floats.h` numbers them. */
const DTYPES = ["F16", "BF16", "F32"];
const NO_CAST = -1;
/** Forces a lower level than the processor has, so that each can be tested. */
const VARIABLE = "MERGE_DELTA_SIMD";

interface Addon {
	interfaceVersion: number;
	levels(): string[];
	add(
		level: number,
		baseType: number,
		deltaType: number,
		cast: number,
		outType: number,
		subtract: number,
		base: Uint8Array,
		delta: Uint8Array,
		out: Uint8Array,
		counts: Float64Array,
	): void;
	/** ways to take a CRC-32 that are faster than zlib's; none on many processors */
	crc32Ways(): string[];
	crc32(way: number, before: number, bytes: Uint8Array): number;
	/** whether the processor has what `sha256Crc32` needs */
	hasSha256(): boolean;
	sha256Crc32: Sha256Crc32;
	dropPages: DropPages;
}

export interface NativeKernel extends Kernel {
	/** the instructions it uses: `avx512`, `avx2`, `neon` or `scalar` */
	readonly level: string;
	/** all that this processor has, the fastest first */
	readonly levels: readonly string[];
}

/**
 * Open the kernel that was compiled for this machine.
 *
 * @param file  default: where the build puts it
 * @throws {Error} that says why, where it is absent, broken or of another version
 */
export function openNativeKernel(file = nativeKernelFile()): NativeKernel {
	const addon = load(file);
	const levels = addon.levels();
	const wished = process.env[VARIABLE] || levels[0];
	const level = levels.indexOf(wished ?? "");
	if (level < 0)
		throw new Error(`${VARIABLE}=${wished}: this machine has ${levels}`);
	const counts = new Float64Array(2);
	const hasCrc32 = addon.crc32Ways().length > 0;
	return {
		...{ name: "native", level: levels[level] as string, levels },
		add(spec, base, delta, out) {
			const types = typeNumbers(spec);
			if (types === null) return jsKernel.add(spec, base, delta, out);
			checkLengths(spec, base, delta, out);
			const subtract = spec.subtract ? 1 : 0;
			addon.add(level, ...types, subtract, base, delta, out, counts);
			const [nonFinite = 0, overflowed = 0] = counts;
			return { nonFinite, overflowed };
		},
		crc32: hasCrc32
			? (bytes, before) => addon.crc32(0, before, bytes)
			: (bytes, before) => crc32(bytes, before),
		sha256Crc32: addon.hasSha256() ? addon.sha256Crc32 : null,
		dropPages: addon.dropPages,
	};
}

function load(file: string): Addon {
	if (!existsSync(file)) throw new Error(`${file} is not there`);
	let addon: Addon;
	try {
		addon = createRequire(import.meta.url)(file);
	} catch (error) {
		const reason = error instanceof Error ? error.message : String(error);
		throw new Error(`${file} does not load: ${reason.split("\n")[0]}`);
	}
	if (addon.interfaceVersion !== INTERFACE_VERSION)
		throw new Error(`${file} is of another version: build it again`);
	return addon;
}

/** Null where a type is none of the kernel's. */
function typeNumbers({ base, delta, cast, out }: AddSpec) {
	const numbers = [base, delta, cast, out].map((dtype) =>
		dtype === null ? NO_CAST : DTYPES.indexOf(dtype),
	);
	const unknown = numbers.some((n, i) => n < 0 && (i !== 2 || cast !== null));
	return unknown ? null : (numbers as [number, number, number, number]);
}
