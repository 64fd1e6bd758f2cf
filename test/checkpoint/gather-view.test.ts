import fc from "fast-check";
import { expect, test } from "vitest";
import {
	gatherView,
	type StridedView,
} from "../../src/checkpoint/gather-view.ts";

const FILE = Uint8Array.from({ length: 40_000 }, (_, i) => (i * 167) >> 3);

/** Reads from memory; remembers how much at most. */
class CountingSource {
	readonly byteLength = FILE.length;
	longest = 0;

	async read(fileOffset: number, into: Uint8Array): Promise<void> {
		this.longest = Math.max(this.longest, into.length);
		const bytes = FILE.subarray(fileOffset, fileOffset + into.length);
		expect(bytes.length).toBe(into.length);
		into.set(bytes);
	}
}

/** The bytes of a view, one element after the other. */
function elementByElement(view: StridedView): Uint8Array {
	const count = view.shape.reduce((a, b) => a * b, 1);
	const out = new Uint8Array(count * view.elementBytes);
	for (let n = 0; n < count; n++) {
		let [rest, at] = [n, 0];
		for (let d = view.shape.length - 1; d >= 0; d--) {
			const dimension = view.shape[d] as number;
			at += (rest % dimension) * (view.stride[d] as number);
			rest = Math.floor(rest / dimension);
		}
		const from = view.fileOffset + at * view.elementBytes;
		out.set(
			FILE.subarray(from, from + view.elementBytes),
			n * view.elementBytes,
		);
	}
	return out;
}

/** Faster than toEqual, which compares number by number. */
function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
	return Buffer.compare(a, b) === 0;
}

const views = fc
	.record({
		dimensions: fc.array(
			fc.tuple(fc.integer({ min: 1, max: 6 }), fc.nat({ max: 60 })),
			{ maxLength: 5 },
		),
		elementBytes: fc.constantFrom(1, 2, 4, 8),
		fileOffset: fc.nat({ max: 500 }),
	})
	.map(
		({ dimensions, ...rest }): StridedView => ({
			...rest,
			shape: dimensions.map(([count]) => count),
			stride: dimensions.map(([, step]) => step),
		}),
	);

test(
	"any part of any view is read, never more than the window at once",
	{
		timeout: 30_000,
	},
	() =>
		fc.assert(
			fc.asyncProperty(
				views,
				fc.nat(),
				fc.nat(),
				fc.constantFrom(8, 64, 1000, 2 ** 20),
				async (view, a, b, windowBytes) => {
					const expected = elementByElement(view);
					const count = expected.length / view.elementBytes;
					const [first = 0, end = 0] = [a % (count + 1), b % (count + 1)].sort(
						(x, y) => x - y,
					);
					const source = new CountingSource();
					const into = new Uint8Array((end - first) * view.elementBytes);
					await gatherView(source, view, first, into, windowBytes);
					const part = expected.subarray(first * view.elementBytes);
					expect(sameBytes(into, part.subarray(0, into.length))).toBe(true);
					expect(source.longest).toBeLessThanOrEqual(windowBytes);
				},
			),
			{ numRuns: 500 },
		),
);

test("a transposed matrix is read no more than once for a stretch of it", async () => {
	const view = {
		...{ shape: [100, 150], stride: [1, 100], fileOffset: 7, elementBytes: 2 },
	};
	let readBytes = 0;
	const source = new CountingSource();
	const counting = {
		byteLength: FILE.length,
		read: (at: number, into: Uint8Array) => {
			readBytes += into.length;
			return source.read(at, into);
		},
	};
	const into = new Uint8Array(20 * 150 * 2);
	await gatherView(counting, view, 30 * 150, into, 2000);
	expect(
		sameBytes(into, elementByElement(view).subarray(30 * 150 * 2, 50 * 300)),
	).toBe(true);
	expect(readBytes).toBeLessThanOrEqual(100 * 150 * 2);
});
