import type { FloatDtype } from "./dtype.ts";
import { decodeBF16, decodeF16 } from "./float.ts";

/** Read one little-endian element as a number; `byteOffset` from the view's start. F64 loses nothing. */
export const READ_ELEMENT: Record<
	FloatDtype,
	(view: DataView, byteOffset: number) => number
> = {
	F16: (view, at) => decodeF16(view.getUint16(at, true)),
	BF16: (view, at) => decodeBF16(view.getUint16(at, true)),
	F32: (view, at) => view.getFloat32(at, true),
	F64: (view, at) => view.getFloat64(at, true),
};
