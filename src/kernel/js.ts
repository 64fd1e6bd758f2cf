import { crc32 } from "node:zlib";
import { elementByteLength, type FloatDtype } from "../tensor/dtype.ts";
import { READ_ELEMENT } from "../tensor/element.ts";
import {
	addRoundedToOdd,
	CANONICAL_NAN,
	decodeBF16,
	decodeF16,
	encodeBF16,
	encodeF16,
} from "../tensor/float.ts";
import { halvesAdder } from "./js-halves.ts";
import {
	type AddCounts,
	type AddSpec,
	checkLengths,
	type Kernel,
} from "./kernel.ts";

type Write = (view: DataView, byteOffset: number, value: number) => void;

const WRITE: Record<FloatDtype, Write> = {
	F16: (view, at, value) => view.setUint16(at, encodeF16(value), true),
	BF16: (view, at, value) => view.setUint16(at, encodeBF16(value), true),
	F32: (view, at, value) =>
		Number.isNaN(value)
			? view.setUint32(at, CANONICAL_NAN.F32, true)
			: view.setFloat32(at, value, true),
	F64: (view, at, value) =>
		Number.isNaN(value)
			? view.setBigUint64(at, CANONICAL_NAN.F64, true)
			: view.setFloat64(at, value, true),
};

/** Round a double to a type and back. */
const CAST: Record<FloatDtype, (value: number) => number> = {
	F16: (value) => decodeF16(encodeF16(value)),
	BF16: (value) => decodeBF16(encodeBF16(value)),
	F32: Math.fround,
	F64: (value) => value,
};

/** The oracle: plain, complete, and what every other kernel is compared with. */
export const jsKernel: Kernel = {
	name: "js",
	add(spec, base, delta, out) {
		checkLengths(spec, base, delta, out);
		const count = out.length / elementByteLength(spec.out);
		const halves = halvesAdder(spec, [base, delta, out]);
		if (halves !== null) return halves(base, delta, out);
		return addElements(spec, viewOf(base), viewOf(delta), viewOf(out), count);
	},
	crc32, // Node's zlib has it
	sha256Crc32: null,
	dropPages: null,
};

function addElements(
	spec: AddSpec,
	base: DataView,
	delta: DataView,
	out: DataView,
	count: number,
): AddCounts {
	const [readBase, readDelta, write] = [
		READ_ELEMENT[spec.base],
		READ_ELEMENT[spec.delta],
		WRITE[spec.out],
	];
	const cast = spec.cast === null ? CAST.F64 : CAST[spec.cast];
	// A sum of doubles is its own rounding; for narrower results rounding to odd first keeps it to one.
	const sum =
		spec.out === "F64" ? (a: number, b: number) => a + b : addRoundedToOdd;
	const [baseStep, deltaStep, outStep] = [spec.base, spec.delta, spec.out].map(
		elementByteLength,
	) as [number, number, number];
	const sign = spec.subtract ? -1 : 1;
	const overflow = OVERFLOW[spec.out];
	let nonFinite = 0;
	let overflowed = 0;
	for (let i = 0; i < count; i++) {
		const a = readBase(base, i * baseStep);
		const b = readDelta(delta, i * deltaStep);
		const value = sum(sign * cast(a), cast(b));
		write(out, i * outStep, value);
		if (!(Math.abs(value) < overflow)) {
			nonFinite++;
			if (Number.isFinite(a) && Number.isFinite(b)) overflowed++;
		}
	}
	return { nonFinite, overflowed };
}

/** Smallest magnitude that rounds to infinity: half an ulp beyond the largest finite value. */
const OVERFLOW: Record<FloatDtype, number> = {
	F16: 65520,
	BF16: 2 ** 128 - 2 ** 119,
	F32: 2 ** 128 - 2 ** 103,
	F64: Infinity,
};

function viewOf(bytes: Uint8Array): DataView {
	return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
