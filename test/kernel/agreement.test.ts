import { describe, expect, test } from "vitest";
import { jsKernel } from "../../src/kernel/js.ts";
import type { AddSpec, Kernel } from "../../src/kernel/kernel.ts";
import { openKernel } from "../../src/kernel/select.ts";
import { elementByteLength, type FloatDtype } from "../../src/tensor/dtype.ts";
import { KERNELS, sharedMemory } from "./kernels.ts";

const DTYPES = ["F16", "BF16", "F32"] as const;

/** Patterns where rounding, ranges and NaNs are hardest, as a function of the position. */
const EDGES: Record<(typeof DTYPES)[number], readonly number[]> = {
	F16: [
		...[0, 0x8000, 1, 0x8001, 2, 0x3ff, 0x400, 0x401, 0x7ff, 0x800, 0x1000],
		...[0x2bff, 0x2c00, 0x3bff, 0x3c00, 0x3c01, 0xbc00, 0x5bff, 0x5c00],
		...[0x77ff, 0x7800, 0x7bfe, 0x7bff, 0xfbff, 0x7c00, 0xfc00],
		...[0x7c01, 0x7dff, 0x7e00, 0x7fff, 0xfe01, 0xffff],
	],
	BF16: [
		...[0, 0x8000, 1, 0x8001, 0x7f, 0x80, 0x81, 0xff, 0x100, 0x3380, 0x3b80],
		...[0x3f7f, 0x3f80, 0x3f81, 0xbf80, 0x4380, 0x477f, 0x4780, 0x7e80],
		...[0x7f00, 0x7f7e, 0x7f7f, 0xff7f, 0x7f80, 0xff80],
		...[0x7f81, 0x7fbf, 0x7fc0, 0x7fff, 0xff81, 0xffff],
	],
	F32: [
		...[0, 0x80000000, 1, 0x80000001, 0x7fffff, 0x800000, 0x33000000],
		...[0x33000001, 0x33800000, 0x387fffff, 0x38800000, 0x3f800000],
		...[0x3f801000, 0x3f801001, 0x3f808000, 0x3f808001, 0x3f7fffff],
		...[0xbf800000, 0x477fe000, 0x477fefff, 0x477ff000, 0x47800000],
		...[0x7f7f7fff, 0x7f7f8000, 0x7f7fffff, 0xff7fffff, 0x7f800000],
		...[0xff800000, 0x7f800001, 0x7fc00000, 0x7fffffff, 0xffc00001],
	],
};

/** A sequence that is the same everywhere. */
function* random(seed: number): Generator<number, never> {
	let state = seed;
	while (true) {
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
		yield (state ^ (state >>> 13)) >>> 0;
	}
}

/** Elements of a type: edges and random patterns in turn, near one magnitude or anywhere. */
function operand(dtype: (typeof DTYPES)[number], count: number, seed: number) {
	const width = elementByteLength(dtype);
	const bytes = new Uint8Array(count * width);
	const view = new DataView(bytes.buffer);
	const numbers = random(seed);
	for (let i = 0; i < count; i++) {
		const [kind, number] = [numbers.next().value, numbers.next().value];
		const edges = EDGES[dtype];
		const pattern =
			kind % 3 === 0 ? (edges[number % edges.length] as number) : number;
		if (width === 4) view.setUint32(i * 4, pattern, true);
		else view.setUint16(i * 2, pattern & 0xffff, true);
	}
	return bytes;
}

function agree(
	kernel: Kernel,
	spec: AddSpec,
	base: Uint8Array,
	delta: Uint8Array,
	out: Uint8Array,
) {
	const expected = new Uint8Array(out.length);
	const counts = jsKernel.add(spec, base, delta, expected);
	expect(kernel.add(spec, base, delta, out)).toEqual(counts);
	if (Buffer.compare(out, expected) === 0) return;
	const width = elementByteLength(spec.out);
	const at = Math.floor(out.findIndex((b, i) => b !== expected[i]) / width);
	const hex = (bytes: Uint8Array, dtype: FloatDtype) => {
		const step = elementByteLength(dtype);
		return Buffer.from(bytes.slice(at * step, (at + 1) * step).reverse());
	};
	expect.fail(
		`${JSON.stringify(spec)} element ${at}: ${hex(base, spec.base).toString("hex")} and ${hex(delta, spec.delta).toString("hex")} give ${hex(out, spec.out).toString("hex")}, expected ${hex(expected, spec.out).toString("hex")}`,
	);
}

interface Spec extends AddSpec {
	base: (typeof DTYPES)[number];
	delta: (typeof DTYPES)[number];
}

const SPECS = DTYPES.flatMap((base) =>
	DTYPES.flatMap((delta) =>
		DTYPES.flatMap((out) =>
			[null, ...DTYPES].flatMap((cast) =>
				[false, true].map(
					(subtract): Spec => ({ base, delta, cast, out, subtract }),
				),
			),
		),
	),
);

describe.each(KERNELS.filter(({ title }) => title !== "js"))(
	"$title kernel",
	({ kernel }) => {
		test.each([
			["F16", "plus", false],
			["F16", "less", true],
			["BF16", "plus", false],
			["BF16", "less", true],
		] as const)(
			"every %s pattern %s every edge, in either order",
			(dtype, _, subtract) => {
				const same = { base: dtype, delta: dtype, cast: null, out: dtype };
				const spec = { ...same, subtract };
				const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
				const bytes = new Uint8Array(all.buffer);
				const out = new Uint8Array(bytes.length);
				for (const edge of EDGES[dtype]) {
					const other = new Uint16Array(65536).fill(edge);
					agree(kernel, spec, bytes, new Uint8Array(other.buffer), out);
					agree(kernel, spec, new Uint8Array(other.buffer), bytes, out);
				}
			},
			60_000,
		);

		test("case 130: all mixes of types and casts, edges and random patterns", () => {
			for (const [i, spec] of SPECS.entries()) {
				const base = operand(spec.base, 5003, 2 * i + 1);
				const delta = operand(spec.delta, 5003, 2 * i + 2);
				const out = new Uint8Array(5003 * elementByteLength(spec.out));
				agree(kernel, spec, base, delta, out);
			}
		}, 60_000);

		test("any number of elements, at any address, and nothing beside them", () => {
			for (const spec of SPECS)
				for (const count of [0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 70]) {
					const shift = (count * 7) % 5;
					const strew = (bytes: Uint8Array, by: number) => {
						const around = new Uint8Array(bytes.length + 16).fill(0xaa);
						around.set(bytes, by);
						return around.subarray(by, by + bytes.length);
					};
					const base = strew(operand(spec.base, count, count + 1), shift);
					const delta = strew(operand(spec.delta, count, count + 9), 3);
					const bytes = new Uint8Array(count * elementByteLength(spec.out));
					const out = strew(bytes, (shift + 1) % 4);
					agree(kernel, spec, base, delta, out);
					const whole = new Uint8Array(out.buffer);
					const before = whole.subarray(0, out.byteOffset);
					const after = whole.subarray(out.byteOffset + out.length);
					for (const byte of [...before, ...after]) expect(byte).toBe(0xaa);
				}
		}, 60_000);

		test("runs of ordinary numbers, longer than what is looked at at once", () => {
			for (const spec of SPECS) {
				const { base: dtype, delta, out, cast } = spec;
				if (delta !== dtype || out !== dtype || cast !== null) continue;
				const ordinary = (seed: number) => {
					const bytes = operand(dtype, 100_003, seed);
					const width = elementByteLength(dtype);
					for (let i = width - 1; i < bytes.length; i += width)
						bytes[i] = (bytes[i] as number) & 0xbb; // no large exponents
					return bytes;
				};
				const [one, other] = [ordinary(5), ordinary(6)];
				agree(kernel, spec, one, other, new Uint8Array(one.length));
			}
		}, 60_000);
	},
);

describe.each(["native", "wasm", "js"] as const)("%s kernel", (name) => {
	test.runIf(KERNELS.some(({ kernel }) => kernel.name === name))(
		"operands in shared memory, and two kernels on one memory",
		() => {
			const count = 10_001;
			const memory = sharedMemory(count * 12 + 64);
			const [one, two] = [openKernel(name, memory), openKernel(name, memory)];
			for (const spec of SPECS) {
				let at = 5;
				const place = (bytes: Uint8Array) => {
					const view = new Uint8Array(memory.buffer, at, bytes.length);
					view.set(bytes);
					at += bytes.length;
					return view;
				};
				const base = place(operand(spec.base, count, 1));
				const delta = place(operand(spec.delta, count, 2));
				const out = place(new Uint8Array(count * elementByteLength(spec.out)));
				agree(one, spec, base, delta, out);
				agree(two, spec, base, delta, out.fill(0));
			}
		},
		60_000,
	);
});
