import { createRequire } from "node:module";
import { crc32 } from "node:zlib";
import { describe, expect, test } from "vitest";
import { nativeKernelFile } from "../../src/kernel/native/location.ts";
import { whatIsWrong, whyNot } from "../../src/kernel/select.ts";
import { KERNELS } from "./kernels.ts";

type Crc32 = (bytes: Uint8Array, before: number) => number;

const require = createRequire(import.meta.url);
const HAS_NATIVE = whyNot("native") === null;
const addon = HAS_NATIVE ? require(nativeKernelFile()) : null;
const WAYS: { title: string; take: Crc32 }[] = [
	...KERNELS.map(({ title, kernel }) => ({ title, take: kernel.crc32 })),
	...(addon?.crc32Ways() ?? []).map((title: string, way: number) => ({
		title,
		take: (bytes: Uint8Array, before: number) =>
			addon.crc32(way, before, bytes),
	})),
];
const BYTES = Uint8Array.from({ length: 70_000 }, (_, i) => (i * i * 167) >> 5);

describe.each(WAYS)("the CRC-32 of $title", ({ take }) => {
	test("is zlib's for any number of bytes, at any address, after any others", () => {
		const befores = [0, 1, 0x7fffffff, 0x80000000, 0xffffffff];
		const lengths = [...Array(700).keys(), 4096, 65_537];
		for (const length of lengths)
			for (const begin of [0, 1, 31]) {
				const bytes = BYTES.subarray(begin, begin + length);
				const before = befores[length % befores.length] as number;
				expect(take(bytes, before), `${length} bytes from ${begin}`).toBe(
					crc32(bytes, before),
				);
			}
	});

	test("goes on where a part ended", () => {
		const whole = crc32(BYTES);
		for (const cut of [1, 63, 256, 12_345])
			expect(take(BYTES.subarray(cut), take(BYTES.subarray(0, cut), 0))).toBe(
				whole,
			);
	});
});

test("a kernel that takes CRCs wrongly is found out", () => {
	for (const { kernel } of KERNELS)
		expect(whatIsWrong({ ...kernel, crc32: () => 0 })).toMatch(/CRCs wrongly/);
});

test.runIf(HAS_NATIVE)("the native CRC-32 checks every argument itself", () => {
	const ways = addon.crc32Ways().length;
	const bytes = new Uint8Array(4);
	for (const given of [
		[],
		[0, 0],
		[-1, 0, bytes],
		[ways, 0, bytes],
		[0, "0", bytes],
		[0, 0, "text"],
		[0, 0, new Float32Array(1)],
	])
		expect(() => addon.crc32(...given)).toThrow(RangeError);
});
