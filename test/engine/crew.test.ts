import { createHash, randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import { expect, test } from "vitest";
import { type Crew, openCrew } from "../../src/engine/crew.ts";
import { Digest } from "../../src/engine/digest.ts";
import { Slots } from "../../src/engine/slots.ts";
import { KERNEL_NAMES, type KernelName } from "../../src/kernel/kernel.ts";
import { whyNot } from "../../src/kernel/select.ts";

const BYTES = randomBytes(2 ** 20);

/** Of those that run here, the slowest and the fastest: they take checksums in other ways. */
const KERNELS = KERNEL_NAMES.filter((name) => whyNot(name) === null);
const ENDS = [KERNELS.at(-1), KERNELS[0]] as const;

async function withCrew<T>(
	threads: number,
	use: (crew: Crew, slots: Slots) => Promise<T>,
	kernel: KernelName = "js",
): Promise<T> {
	const slots = new Slots(4, 2 ** 20);
	const crew = openCrew(threads, kernel, slots.memory);
	return use(crew, slots).finally(() => crew.close());
}

const ANY_ORDER = [0, 1, 3].flatMap((threads) =>
	ENDS.map((kernel) => ({ threads, kernel: kernel as KernelName })),
);
test.each(ANY_ORDER)(
	"$threads threads ($kernel) hash files whose pieces come in any order",
	({ threads, kernel }) => withCrew(threads, hashInAnyOrder, kernel),
);

async function hashInAnyOrder(crew: Crew, slots: Slots): Promise<void> {
	const slot = await slots.take();
	slot.view(0, BYTES.length).set(BYTES);
	const files = [0, 1, 2, 3].map(() => new Digest(crew));
	const placed = files.flatMap((digest, file) =>
		Array.from({ length: 8 }, (_, i) => ({
			place: digest.takePlace(),
			begin: file * 1000 + i * 10_000,
		})),
	);
	await Promise.all(
		placed
			.toReversed()
			.map(({ place, begin }) => place.hash(slot.byteOffset + begin, 10_000)),
	);
	for (const [file, digest] of files.entries()) {
		const bytes = BYTES.subarray(file * 1000, file * 1000 + 80_000);
		const expected = createHash("sha256").update(bytes).digest("hex");
		expect(await digest.finish()).toBe(expected);
	}
}

test.each(ENDS)(
	"another thread goes on with a file where it can (%s)",
	(kernel) =>
		withCrew(
			2,
			async (crew, slots) => {
				const slot = await slots.take();
				slot.view(0, BYTES.length).set(BYTES);
				const range = { where: "record", begin: 10, end: 90_000 };
				const crc = crc32(BYTES.subarray(range.begin, range.end));
				const checkedRanges = [{ ...range, crc32: crc }];
				const [file, other] = [
					new Digest(crew, { checkedRanges }),
					new Digest(crew),
				];
				const others: Promise<void>[] = [];
				for (let at = 0; at < 100_000; at += 10_001) {
					// The thread that did the last piece is busy from now on.
					others.push(other.takePlace().hash(slot.byteOffset, BYTES.length));
					const length = Math.min(10_001, 100_000 - at);
					await file.takePlace().hash(slot.byteOffset + at, length);
				}
				await Promise.all(others);
				const bytes = BYTES.subarray(0, 100_000);
				const sha256 = createHash("sha256").update(bytes).digest("hex");
				expect(await file.finish()).toBe(sha256);
			},
			kernel,
		),
);

/** Hash `bytes` in pieces, while the CRCs of some of its stretches are checked. */
function digestPieces(
	threads: number,
	bytes: Uint8Array,
	pieceBytes: number,
	algorithm: "sha256" | "md5",
	kernel?: KernelName,
): Promise<string> {
	const stretches = [
		[3, 4],
		[4, 4],
		[4, 2000],
		[2500, 2501],
		[2600, 9000],
	] as const;
	const checkedRanges = stretches.map(([begin, end]) => ({
		...{ where: `record at ${begin}`, begin, end },
		crc32: crc32(BYTES.subarray(begin, end)),
	}));
	return withCrew(
		threads,
		async (crew, slots) => {
			const slot = await slots.take();
			slot.view(0, bytes.length).set(bytes);
			const digest = new Digest(crew, { algorithm, checkedRanges });
			const pieces: Promise<void>[] = [];
			for (let at = 0; at < bytes.length; at += pieceBytes)
				pieces.push(
					digest
						.takePlace()
						.hash(
							slot.byteOffset + at,
							Math.min(pieceBytes, bytes.length - at),
						),
				);
			await Promise.all(pieces);
			return digest.finish();
		},
		kernel,
	);
}

const HASHED = BYTES.subarray(0, 9000);

test.each([
	[0, [1, 3, 1000, 2000, 2500, 8999, 9000]],
	[2, [700, 2500]],
])(
	"%s threads check the CRCs of stretches, wherever the pieces are cut",
	async (threads, cuts) => {
		const sha256 = createHash("sha256").update(HASHED).digest("hex");
		for (const kernel of ENDS)
			for (const pieceBytes of cuts)
				expect(
					await digestPieces(threads, HASHED, pieceBytes, "sha256", kernel),
				).toBe(sha256);
	},
);

test("a stretch may be longer than a processor's cache", () =>
	withCrew(0, async (crew, slots) => {
		const slot = await slots.take();
		slot.view(0, BYTES.length).set(BYTES);
		const [begin, end] = [5, BYTES.length - 5];
		const right = crc32(BYTES.subarray(begin, end));
		const sha256 = createHash("sha256").update(BYTES).digest("hex");
		for (const crc of [right, right ^ 1]) {
			const range = { where: "record", begin, end, crc32: crc >>> 0 };
			const digest = new Digest(crew, { checkedRanges: [range] });
			const hashed = digest.takePlace().hash(slot.byteOffset, BYTES.length);
			if (crc === right) await hashed;
			else await expect(hashed).rejects.toThrow("record");
			expect(await digest.finish()).toBe(sha256);
		}
	}));

test("another checksum is taken where it is asked for", async () => {
	const md5 = createHash("md5").update(HASHED).digest("hex");
	expect(await digestPieces(0, HASHED, 1000, "md5")).toBe(md5);
});

test.each([
	[3, 3],
	[4, 4],
	[1999, 4],
	[2500, 2500],
	[8999, 2600],
	[2, null],
	[2000, null],
	[2599, null],
])("a wrong byte %s is found in the stretch from %s", async (at, begin) => {
	const bytes = Uint8Array.from(HASHED);
	bytes[at] = (bytes[at] ?? 0) ^ 1;
	for (const pieceBytes of [1, 700, 9000])
		for (const [algorithm, kernel] of [
			["sha256", ENDS[0]],
			["sha256", ENDS[1]],
			["md5", "js"],
		] as const) {
			const digested = digestPieces(0, bytes, pieceBytes, algorithm, kernel);
			if (begin === null) await digested;
			else
				await expect(digested).rejects.toThrow(
					`record at ${begin}: its bytes are not those that were written`,
				);
		}
});

test("a place that is given up does not hold back those behind it", () =>
	withCrew(1, async (crew, slots) => {
		const digest = new Digest(crew);
		const [first, second] = [digest.takePlace(), digest.takePlace()];
		const hashed = second.hash((await slots.take()).byteOffset, 10);
		first.skip();
		await hashed;
	}));

test("an error in one thread ends all that was asked of the crew, and all that will be", () =>
	withCrew(2, async (crew) => {
		const steps = Array.from({ length: 8 }, () =>
			new Digest(crew).takePlace().hash(2 ** 40, 1),
		);
		for (const step of steps) await expect(step).rejects.toThrow(RangeError);
		await expect(new Digest(crew).finish()).rejects.toThrow();
	}));

test("closing ends what is under way", async () => {
	const slots = new Slots(1, 2 ** 20);
	const crew = openCrew(1, "js", slots.memory);
	const steps = Array.from({ length: 5 }, () => new Digest(crew).finish());
	const settled = Promise.allSettled(steps);
	await crew.close();
	expect((await settled).at(-1)?.status).toBe("rejected");
});

test("slots are handed on in the order they are asked for", async () => {
	const slots = new Slots(1, 1);
	expect(slots.slotBytes).toBe(2 ** 16);
	const slot = await slots.take();
	const order: number[] = [];
	const waiting = [1, 2].map(async (n) => {
		const next = await slots.take();
		order.push(n);
		slots.give(next);
	});
	slots.give(slot);
	await Promise.all(waiting);
	expect(order).toEqual([1, 2]);
});
