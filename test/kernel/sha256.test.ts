import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { crc32 } from "node:zlib";
import { describe, expect, test } from "vitest";
import type { Kernel, Sha256Crc32 } from "../../src/kernel/kernel.ts";
import { nativeKernelFile } from "../../src/kernel/native/location.ts";
import { whatIsWrong } from "../../src/kernel/select.ts";
import { Sha256 } from "../../src/kernel/sha256.ts";
import { KERNELS, sharedMemory } from "./kernels.ts";

/** One is enough: no level of the arithmetic changes it. */
const KERNEL = KERNELS.map(({ kernel }) => kernel).find(
	({ sha256Crc32 }) => sha256Crc32 !== null,
);
if (!KERNEL) console.warn("SHA-256 with CRC-32 not tested: no kernel has it");

const { buffer } = sharedMemory(2 ** 17);
const BYTES = new Uint8Array(buffer, 3, 100_000);
for (let i = 0; i < BYTES.length; i++) BYTES[i] = (i * i * 167) >> 5;

const sha256Of = (bytes: Uint8Array) =>
	createHash("sha256").update(bytes).digest("hex");

describe.runIf(KERNEL)("the SHA-256 and CRC-32 of a kernel", () => {
	const kernel = KERNEL as Kernel;
	const open = () => new Sha256(kernel, kernel.sha256Crc32 as Sha256Crc32);

	test("are Node's and zlib's for any number of bytes, after any others", () => {
		for (const length of [...Array(300).keys(), 4096, 65_537]) {
			const bytes = BYTES.subarray(length % 7, (length % 7) + length);
			const before = (length * 0x9e3779b1) >>> 0;
			const sha256 = open();
			expect(sha256.update(bytes, before), `${length}`).toBe(
				crc32(bytes, before),
			);
			expect(sha256.digest(), `${length}`).toBe(sha256Of(bytes));
		}
	});

	test("go on after parts of any length, and may be asked for between them", () => {
		for (const step of [1, 3, 63, 64, 65, 127, 1000, 12_345]) {
			const sha256 = open();
			let crc = 0;
			const bytes = BYTES.subarray(0, Math.min(step * 200, BYTES.length));
			for (let at = 0; at < bytes.length; at += step) {
				crc = sha256.update(bytes.subarray(at, at + step), crc);
				if (at % 5 === 0)
					expect(sha256.digest()).toBe(sha256Of(bytes.subarray(0, at + step)));
			}
			expect(crc).toBe(crc32(bytes));
			expect(sha256.digest()).toBe(sha256Of(bytes));
		}
	});

	test("are right for more bits than 32 can count", () => {
		const sha256 = open();
		const hash = createHash("sha256");
		const bytes = Buffer.alloc(2 ** 26, "merge-delta");
		let [crc, expected] = [0, 0];
		for (let i = 0; i < 9; i++) {
			crc = sha256.update(bytes, crc);
			expected = crc32(bytes, expected);
			hash.update(bytes);
		}
		expect(crc).toBe(expected);
		expect(sha256.digest()).toBe(hash.digest("hex"));
	}, 60_000);

	test("that are wrong are found out", () => {
		const sha256Crc32 = kernel.sha256Crc32 as Sha256Crc32;
		expect(whatIsWrong(kernel)).toBe(null);
		for (const wrong of [
			(...[state, blocks]: Parameters<Sha256Crc32>) =>
				sha256Crc32(state, blocks, 0),
			(...[state, blocks, before]: Parameters<Sha256Crc32>) =>
				sha256Crc32(state.slice(), blocks, before),
		])
			expect(whatIsWrong({ ...kernel, sha256Crc32: wrong })).toMatch(
				/it takes SHA-256 wrongly/,
			);
	});

	test("check every argument themselves", () => {
		const { sha256Crc32 } = createRequire(import.meta.url)(nativeKernelFile());
		const [state, blocks] = [new Uint32Array(8), new Uint8Array(64)];
		expect(sha256Crc32(state, blocks, 0)).toBe(crc32(blocks));
		for (const given of [
			[],
			[state, blocks],
			[new Uint32Array(7), blocks, 0],
			[new Uint8Array(32), blocks, 0],
			[state, new Uint8Array(63), 0],
			[state, new Uint32Array(16), 0],
			[state, "text", 0],
			[state, blocks, "0"],
		])
			expect(() => sha256Crc32(...given)).toThrow(RangeError);
	});
});
