import { elementByteLength, type FloatDtype } from "../tensor/dtype.ts";
import { READ_ELEMENT } from "../tensor/element.ts";

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
	const read = READ_ELEMENT[dtype];
	for (let at = 0; at < length; at += width) sum += read(view, at);
	return sum;
}
