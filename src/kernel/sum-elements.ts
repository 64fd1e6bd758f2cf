import { elementByteLength, type FloatDtype } from "../tensor/dtype.ts";
import { decodeBF16, decodeF16 } from "../tensor/float.ts";

/** The sum of all elements, in binary64, one after another. @param bytes  whole elements, at any alignment */
export function sumElements(dtype: FloatDtype, bytes: Uint8Array): number {
	const { buffer, byteOffset, length } = bytes;
	const width = elementByteLength(dtype);
	let sum = 0;
	if (dtype === "F32" && byteOffset % 4 === 0) {
		const values = new Float32Array(buffer, byteOffset, length / 4);
		for (let i = 0; i < values.length; i++) sum += values[i] as number;
		return sum;
	}
	const view = new DataView(buffer, byteOffset, length);
	const read = READ[dtype];
	for (let at = 0; at < length; at += width) sum += read(view, at);
	return sum;
}

const READ: Record<FloatDtype, (view: DataView, at: number) => number> = {
	F16: (view, at) => decodeF16(view.getUint16(at, true)),
	BF16: (view, at) => decodeBF16(view.getUint16(at, true)),
	F32: (view, at) => view.getFloat32(at, true),
	F64: (view, at) => view.getFloat64(at, true),
};
