import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { jsKernel } from "../../src/kernel/js.ts";
import {
	countUnrestored,
	createRestorationScratch,
	type RestorationSpec,
	type Unrestored,
} from "../../src/kernel/restoration.ts";
import {
	elementByteLength,
	FLOAT_DTYPES,
	type FloatDtype,
} from "../../src/tensor/dtype.ts";
import { decodeBF16, decodeF16 } from "../../src/tensor/float.ts";
import { KERNELS } from "./kernels.ts";

const scratch = createRestorationScratch();

function pack(dtype: FloatDtype, patterns: readonly bigint[]): Buffer {
	const width = elementByteLength(dtype);
	const bytes = Buffer.alloc(patterns.length * width);
	patterns.forEach((pattern, i) => {
		for (let k = 0; k < width; k++)
			bytes[i * width + k] = Number((pattern >> BigInt(8 * k)) & 0xffn);
	});
	return bytes;
}

function unpack(dtype: FloatDtype, bytes: Uint8Array): bigint[] {
	const width = elementByteLength(dtype);
	return Array.from({ length: bytes.length / width }, (_, i) =>
		bytes
			.subarray(i * width, (i + 1) * width)
			.reduceRight((bits, byte) => (bits << 8n) | BigInt(byte), 0n),
	);
}

/** Value of a pattern; every one is a double. */
function numberOf(dtype: FloatDtype, pattern: bigint): number {
	const bytes = pack(dtype, [pattern]);
	if (dtype === "F64") return bytes.readDoubleLE();
	if (dtype === "F32") return bytes.readFloatLE();
	const decode = dtype === "F16" ? decodeF16 : decodeBF16;
	return decode(bytes.readUInt16LE());
}

/** Place among all patterns of a type, −NaN first, +NaN last. */
function placeOf(dtype: FloatDtype, pattern: bigint): bigint {
	const signBit = 1n << BigInt(8 * elementByteLength(dtype) - 1);
	return pattern & signBit
		? signBit - 1n - (pattern - signBit)
		: signBit + pattern;
}

/** The pattern a double rounds to: the sum with −0 is nothing but a rounding. */
function roundTo(dtype: FloatDtype, value: number): bigint {
	const bytes = Buffer.alloc(8);
	bytes.writeDoubleLE(value);
	const out = Buffer.alloc(elementByteLength(dtype));
	jsKernel.add(
		{ base: "F64", delta: "F16", cast: null, out: dtype, subtract: false },
		...([bytes, pack("F16", [0x8000n]), out] as const),
	);
	return unpack(dtype, out)[0] as bigint;
}

/** One element after another, by values and BigInts. */
function countSlowly(
	spec: RestorationSpec,
	merged: readonly bigint[],
	target: readonly bigint[],
): Unrestored {
	let [elements, maxUlp] = [0, 0];
	target.forEach((expected, i) => {
		const result = merged[i] as bigint;
		const value = numberOf(spec.out, result);
		const found =
			spec.out === spec.target ? result : roundTo(spec.target, value);
		const isExact = Object.is(numberOf(spec.target, found), value);
		if (found === expected && isExact) return;
		const [a, b] = [
			placeOf(spec.target, found),
			placeOf(spec.target, expected),
		];
		elements++;
		maxUlp = Math.max(maxUlp, Number(a > b ? a - b : b - a), 1);
	});
	return { elements, maxUlp };
}

const EDGES: Record<FloatDtype, readonly bigint[]> = {
	F16: [
		0n,
		0x8000n,
		1n,
		0x3ffn,
		0x400n,
		0x3c00n,
		0xbc01n,
		0x7bffn,
		0x7c00n,
		0x7e00n,
		0xfc01n,
	],
	BF16: [
		0n,
		0x8000n,
		1n,
		0x7fn,
		0x80n,
		0x3f80n,
		0xbf81n,
		0x7f7fn,
		0x7f80n,
		0x7fc0n,
		0xff81n,
	],
	F32: [
		...[0n, 0x80000000n, 1n, 0x7fffffn, 0x800000n, 0x3f800000n, 0xbf800001n],
		...[0x7f7fffffn, 0x7f800000n, 0x7fc00000n, 0xff800001n, 0x477fe000n],
	],
	F64: [
		...[0n, 1n << 63n, 1n, 0x3ff0000000000000n, 0xbff0000000000001n],
		...[0x7fefffffffffffffn, 0x7ff0000000000000n, 0x7ff8000000000000n],
		...[0xfff0000000000001n, 0x40effc0000000000n],
	],
};

const SPECS = FLOAT_DTYPES.flatMap((dtype) =>
	FLOAT_DTYPES.flatMap((delta) =>
		FLOAT_DTYPES.flatMap((target) =>
			([null, "F16"] as const).map((cast): RestorationSpec => {
				const out = cast ?? dtype;
				return { base: dtype, delta, cast, out, target, subtract: false };
			}),
		),
	),
);

const patternsOf = (dtype: FloatDtype) =>
	fc.oneof(
		fc.constantFrom(...EDGES[dtype]),
		fc.bigInt({
			min: 0n,
			max: 2n ** BigInt(8 * elementByteLength(dtype)) - 1n,
		}),
	);

describe.each(KERNELS)("$title kernel", ({ kernel }) => {
	test("counts and distances are those of a slow count, for all types, edges and random patterns", () => {
		for (const spec of SPECS)
			fc.assert(
				fc.property(
					fc.array(
						fc.tuple(
							patternsOf(spec.base),
							patternsOf(spec.delta),
							patternsOf(spec.target),
							fc.constantFrom("given", "restored", "beside"),
						),
						{ maxLength: 12 },
					),
					fc.nat(3),
					(elements, shift) => {
						const base = pack(
							spec.base,
							elements.map(([b]) => b),
						);
						const delta = pack(
							spec.delta,
							elements.map(([, d]) => d),
						);
						const sums = Buffer.alloc(
							elements.length * elementByteLength(spec.out),
						);
						jsKernel.add(spec, base, delta, sums);
						const merged = unpack(spec.out, sums);
						const target = elements.map(([, , given, kind], i) => {
							if (kind === "given") return given;
							const back = roundTo(
								spec.target,
								numberOf(spec.out, merged[i] as bigint),
							);
							return kind === "restored" ? back : back ^ 1n;
						});
						const bytes = pack(spec.target, target);
						const strewn = new Uint8Array(bytes.length + shift).subarray(shift);
						strewn.set(bytes);
						expect(
							countUnrestored(spec, base, delta, strewn, kernel, scratch),
						).toEqual(countSlowly(spec, merged, target));
					},
				),
				{ numRuns: 10 },
			);
	}, 60_000);
});

const F16: RestorationSpec = {
	...({ base: "F16", delta: "F16", cast: null, out: "F16" } as const),
	...({ target: "F16", subtract: false } as const),
};

test.each([
	["the same", 0x3c00n, 0x0000n, 0x3c00n, 0, 0],
	["its neighbour", 0x3c00n, 0x0000n, 0x3c01n, 1, 1],
	["+0 for −0", 0x0000n, 0x0000n, 0x8000n, 1, 1],
	[
		"the smallest number below zero for the one above",
		0x8001n,
		0x8000n,
		1n,
		1,
		3,
	],
	["infinity for the largest number", 0x7bffn, 0x7bffn, 0x7bffn, 1, 1],
	["one NaN for another", 0x7e00n, 0x0000n, 0x7e01n, 1, 1],
	["a NaN for 1", 0x7e00n, 0x0000n, 0x3c00n, 1, 0x4200],
] as const)("%s", (_, base, delta, target, elements, maxUlp) => {
	const operands = [base, delta, target].map((bits) => pack("F16", [bits])) as [
		Buffer,
		Buffer,
		Buffer,
	];
	expect(countUnrestored(F16, ...operands, jsKernel, scratch)).toEqual({
		elements,
		maxUlp,
	});
});

test("a result in a wider type that only rounds to the target is not the target", () => {
	const spec: RestorationSpec = {
		...F16,
		base: "F32",
		delta: "F32",
		out: "F32",
	};
	const base = pack("F32", [0x3f800001n, 0x3f800000n]);
	const delta = pack("F32", [0n, 0n]);
	const target = pack("F16", [0x3c00n, 0x3c00n]);
	expect(countUnrestored(spec, base, delta, target, jsKernel, scratch)).toEqual(
		{
			elements: 1,
			maxUlp: 1,
		},
	);
});

test("longer than what is merged at once, and every element is seen", () => {
	const count = 20_001;
	const zeros = Buffer.alloc(count * 2);
	for (const at of [0, 8191, 8192, 16_383, 16_384, 20_000]) {
		const target = Buffer.alloc(count * 2);
		target.writeUInt16LE(0x0007, at * 2);
		expect(
			countUnrestored(F16, zeros, zeros, target, jsKernel, scratch),
		).toEqual({ elements: 1, maxUlp: 7 });
	}
});

test("refuses operands of unequal length", () => {
	const bytes = (length: number) => new Uint8Array(length);
	for (const [base, delta] of [
		[2, 4],
		[4, 2],
	] as const)
		expect(() =>
			countUnrestored(
				F16,
				bytes(base),
				bytes(delta),
				bytes(4),
				jsKernel,
				scratch,
			),
		).toThrow(RangeError);
});
