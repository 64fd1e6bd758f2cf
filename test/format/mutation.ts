/** Numbers from a seed, the same on every machine. Source: mulberry32, by Tommy Ettinger. */
export class Random {
	private state: number;

	constructor(seed: number) {
		this.state = seed >>> 0;
	}

	/** A whole number from 0 up to, not including, `bound`. */
	below(bound: number): number {
		this.state = (this.state + 0x6d2b79f5) >>> 0;
		let mixed = this.state;
		mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
		mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
		return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound);
	}

	pick<T>(items: readonly T[]): T {
		if (items.length === 0) throw new RangeError("nothing to pick from");
		return items[this.below(items.length)] as T;
	}
}

/** What a file is made worse with. */
export interface Ingredients {
	/** files of the same kind, to splice with */
	seeds: readonly Buffer[];
	/** words of the format */
	tokens: readonly string[];
	/** true: keep the file's length, so that what offsets point at stays there */
	inPlace?: boolean;
}

type Mutation = (
	bytes: Buffer,
	random: Random,
	ingredients: Ingredients,
) => Buffer;

/** Lengths, offsets and counts that parsers have stumbled over. */
const EXTREMES = [
	...[0n, 1n, 2n, 0x7fn, 0x80n, 0xffn, 0x7fffn, 0xffffn, 0x7fffffffn],
	...[0x80000000n, 0xfffffff0n, 0xffffffffn, 0x100000000n, 2n ** 40n],
	...[2n ** 53n - 1n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n],
];

const flipBit: Mutation = (bytes, random) => {
	const at = random.below(bytes.length);
	bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
	return bytes;
};

const setByte: Mutation = (bytes, random) => {
	bytes[random.below(bytes.length)] = random.below(256);
	return bytes;
};

/** A little-endian number of 1, 2, 4 or 8 bytes, or one before or behind it. */
const setNumber: Mutation = (bytes, random) => {
	const width = Math.min(random.pick([1, 2, 4, 8]), bytes.length);
	const number = Buffer.alloc(8);
	const near = BigInt(random.below(3) - 1);
	number.writeBigUInt64LE(BigInt.asUintN(64, random.pick(EXTREMES) + near));
	number.copy(bytes, random.below(bytes.length - width + 1), 0, width);
	return bytes;
};

const copyRange: Mutation = (bytes, random) => {
	const begin = random.below(bytes.length);
	const byteLength = 1 + random.below(Math.min(64, bytes.length - begin));
	bytes.copy(bytes, random.below(bytes.length), begin, begin + byteLength);
	return bytes;
};

const writeToken: Mutation = (bytes, random, { tokens }) => {
	bytes.write(random.pick(tokens), random.below(bytes.length), "latin1");
	return bytes;
};

const insertToken: Mutation = (bytes, random, { tokens }) =>
	insert(bytes, random, Buffer.from(random.pick(tokens), "latin1"));

const insertRange: Mutation = (bytes, random) => {
	const begin = random.below(bytes.length);
	const end = begin + 1 + random.below(64);
	const copies = 1 + random.below(4);
	const range = Array<Buffer>(copies).fill(bytes.subarray(begin, end));
	return insert(bytes, random, Buffer.concat(range));
};

const deleteRange: Mutation = (bytes, random) => {
	const begin = random.below(bytes.length);
	const end = begin + 1 + random.below(random.pick([1, 8, 64]));
	return Buffer.concat([bytes.subarray(0, begin), bytes.subarray(end)]);
};

const cutShort: Mutation = (bytes, random) =>
	bytes.subarray(0, random.below(bytes.length));

const splice: Mutation = (bytes, random, { seeds }) => {
	const other = random.pick(seeds);
	return Buffer.concat([
		bytes.subarray(0, random.below(bytes.length + 1)),
		other.subarray(random.below(other.length + 1)),
	]);
};

/** A number in decimal, where the text has one. */
const setDigits: Mutation = (bytes, random) => {
	const at = random.below(bytes.length);
	const text = bytes.toString("latin1");
	const found = /\d+/.exec(text.slice(at));
	if (!found) return bytes;
	const begin = at + found.index;
	const digits = `${random.pick(["", "-"])}${random.pick(EXTREMES)}`;
	return Buffer.from(
		text.slice(0, begin) + digits + text.slice(begin + found[0].length),
		"latin1",
	);
};

const IN_PLACE = [
	flipBit,
	setByte,
	setNumber,
	setNumber,
	copyRange,
	writeToken,
];
const RESIZING = [
	...[insertToken, insertToken, insertRange, deleteRange, cutShort],
	...[splice, setDigits],
];

/** A copy of a file with up to four things wrong; some seeds are wrong enough as they are. */
export function mutate(
	seed: Buffer,
	random: Random,
	ingredients: Ingredients,
): Buffer {
	const mutations = ingredients.inPlace ? IN_PLACE : [...IN_PLACE, ...RESIZING];
	let bytes: Buffer = Buffer.from(seed);
	for (let left = random.below(5); left > 0 && bytes.length > 0; left--)
		bytes = random.pick(mutations)(bytes, random, ingredients);
	return Buffer.from(bytes);
}

function insert(bytes: Buffer, random: Random, range: Buffer): Buffer {
	const at = random.below(bytes.length + 1);
	return Buffer.concat([bytes.subarray(0, at), range, bytes.subarray(at)]);
}
