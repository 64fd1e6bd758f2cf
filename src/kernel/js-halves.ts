import { CANONICAL_NAN, decodeF16 } from "../tensor/float.ts";
import type { AddCounts, AddSpec } from "./kernel.ts";

/**
 * The common case, made fast: 16-bit floats of one type. Their sum is taken in binary32, whose 24 bits
 * are at least twice theirs plus two, so that rounding it again gives the correct rounding of the exact
 * sum (Figueroa 1995).
 */
type HalvesAdder = (
	base: Uint8Array,
	delta: Uint8Array,
	out: Uint8Array,
) => AddCounts;

/** So many sums stay in the processor's first cache. */
const RUN = 2048;
const sums = new Float32Array(RUN);
const sumBits = new Uint32Array(sums.buffer);
const one = new Float32Array(1);
const oneBits = new Uint32Array(one.buffer);
const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

interface HalfType {
	/** add `count` elements from `first` on into `sums`, the base's with the bits of `sign` turned over */
	add(
		base: Uint16Array,
		delta: Uint16Array,
		sign: number,
		first: number,
		count: number,
	): void;
	/** patterns of binary32 sums, written as this type; true where one may not be finite */
	narrow(out: Uint16Array, first: number, count: number): boolean;
	/** exponent field that marks infinities and NaNs */
	nonFinite: number;
}

let f16Values: Float32Array | null = null;

const HALF_TYPES: Record<"F16" | "BF16", HalfType> = {
	F16: {
		nonFinite: 0x7c00,
		add(base, delta, sign, first, count) {
			f16Values ??= Float32Array.from({ length: 65536 }, (_, bits) =>
				decodeF16(bits),
			);
			const values = f16Values;
			for (let i = 0; i < count; i++)
				sums[i] =
					(values[(base[first + i] as number) ^ sign] as number) +
					(values[delta[first + i] as number] as number);
		},
		narrow(out, first, count) {
			let suspicious = false;
			for (let i = 0; i < count; i++) {
				const bits = sumBits[i] as number;
				const magnitude = bits & 0x7fffffff;
				if (magnitude >= 0x38800000 && magnitude < 0x477fe000) {
					// A normal number that rounds to one: by far the most common.
					const even = (magnitude >>> 13) & 1;
					out[first + i] =
						((bits >>> 16) & 0x8000) |
						((magnitude - 0x38000000 + 0xfff + even) >>> 13);
				} else {
					out[first + i] = narrowToF16(bits);
					suspicious ||= magnitude >= 0x477fe000;
				}
			}
			return suspicious;
		},
	},
	BF16: {
		nonFinite: 0x7f80,
		add(base, delta, sign, first, count) {
			for (let i = 0; i < count; i++)
				sumBits[i] = ((base[first + i] as number) ^ sign) << 16;
			for (let i = 0; i < count; i++) {
				oneBits[0] = (delta[first + i] as number) << 16;
				sums[i] = (sums[i] as number) + (one[0] as number);
			}
		},
		narrow(out, first, count) {
			let largest = 0;
			for (let i = 0; i < count; i++) {
				const bits = sumBits[i] as number;
				const magnitude = bits & 0x7fffffff;
				if (magnitude > largest) largest = magnitude;
				out[first + i] =
					magnitude > 0x7f800000
						? CANONICAL_NAN.BF16
						: (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
			}
			return largest >= 0x7f7f8000;
		},
	},
};

function narrowToF16(bits: number): number {
	const sign = (bits >>> 16) & 0x8000;
	const magnitude = bits & 0x7fffffff;
	if (magnitude > 0x7f800000) return CANONICAL_NAN.F16;
	if (magnitude >= 0x47800000) return sign | 0x7c00; // 65536 and more
	if (magnitude < 0x38800000) {
		// Below the normal numbers: beside one half, binary32 has just their last place.
		oneBits[0] = magnitude;
		one[0] = (one[0] as number) + 0.5;
		return sign | ((oneBits[0] as number) - 0x3f000000);
	}
	const even = (magnitude >>> 13) & 1;
	return sign | ((magnitude - 0x38000000 + 0xfff + even) >>> 13);
}

/** An adder for operands of one 16-bit type that lie at even addresses, or null. */
export function halvesAdder(
	spec: AddSpec,
	operands: readonly Uint8Array[],
): HalvesAdder | null {
	const { base, delta, cast, out } = spec;
	const sign = spec.subtract ? 0x8000 : 0;
	if ((base !== "F16" && base !== "BF16") || delta !== base || out !== base)
		return null;
	if (cast !== null && cast !== base) return null;
	if (!LITTLE_ENDIAN || operands.some(({ byteOffset }) => byteOffset % 2 !== 0))
		return null;
	return (a, b, c) => addHalves(HALF_TYPES[base], sign, a, b, c);
}

function addHalves(
	type: HalfType,
	sign: number,
	baseBytes: Uint8Array,
	deltaBytes: Uint8Array,
	outBytes: Uint8Array,
): AddCounts {
	const [base, delta, out] = [baseBytes, deltaBytes, outBytes].map(
		(bytes) =>
			new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2),
	) as [Uint16Array, Uint16Array, Uint16Array];
	const { nonFinite: mask } = type;
	const counts = { nonFinite: 0, overflowed: 0 };
	for (let first = 0; first < out.length; first += RUN) {
		const count = Math.min(RUN, out.length - first);
		type.add(base, delta, sign, first, count);
		if (!type.narrow(out, first, count)) continue;
		for (let i = first; i < first + count; i++) {
			if (((out[i] as number) & mask) !== mask) continue;
			counts.nonFinite++;
			const [a, b] = [base[i] as number, delta[i] as number];
			if ((a & mask) !== mask && (b & mask) !== mask) counts.overflowed++;
		}
	}
	return counts;
}
