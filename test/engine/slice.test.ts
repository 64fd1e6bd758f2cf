import fc from "fast-check";
import { expect, test } from "vitest";
import type { OutputShard } from "../../src/delta/plan.ts";
import { sliceShard } from "../../src/engine/slice.ts";
import { elementByteLength, FLOAT_DTYPES } from "../../src/tensor/dtype.ts";

test("slices tile each segment and its operands, in order, within the limit", () => {
	const dtype = fc.constantFrom(...FLOAT_DTYPES);
	const segment = fc.record({
		base: dtype,
		delta: dtype,
		out: dtype,
		count: fc.nat(100),
	});
	fc.assert(
		fc.property(
			fc.array(segment),
			fc.integer({ min: 8, max: 200 }),
			(kinds, limit) => {
				const shard: OutputShard = {
					...{ fileName: "f", byteLength: 0, header: "" },
					segments: kinds.map(({ count, ...types }, i) => {
						const span = (
							input: number,
							type: (typeof FLOAT_DTYPES)[number],
						) => ({
							...{ input, shard: 0, fileOffset: 1000 * i },
							byteLength: count * elementByteLength(type),
						});
						return {
							...{ op: "add", tensor: `${i}`, fileOffset: 0 },
							spec: { ...types, cast: null },
							byteLength: count * elementByteLength(types.out),
							base: span(0, types.base),
							delta: span(1, types.delta),
						};
					}),
				};
				const slices = [...sliceShard(shard, limit)];
				for (const whole of shard.segments) {
					const mine = slices.filter((s) => s.segment === whole);
					let elements = 0;
					for (const { byteLength, base, delta } of mine) {
						for (const length of [
							byteLength,
							base.byteLength,
							delta.byteLength,
						])
							expect(length).toBeLessThanOrEqual(limit);
						for (const side of ["base", "delta"] as const) {
							const span = { base, delta }[side];
							const step = elementByteLength(whole.spec[side]);
							expect(span.fileOffset).toBe(
								whole[side].fileOffset + elements * step,
							);
						}
						const count = byteLength / elementByteLength(whole.spec.out);
						expect(base.byteLength).toBe(
							count * elementByteLength(whole.spec.base),
						);
						expect(delta.byteLength).toBe(
							count * elementByteLength(whole.spec.delta),
						);
						elements += count;
					}
					expect(elements * elementByteLength(whole.spec.out)).toBe(
						whole.byteLength,
					);
				}
				expect(slices.map((s) => Number(s.segment.tensor))).toEqual(
					slices.map((s) => Number(s.segment.tensor)).sort((a, b) => a - b),
				);
			},
		),
	);
});
