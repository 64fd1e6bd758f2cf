/**
 * Every element type of safetensors, in the order of the reference's enum (ascending), which is also
 * the order in which its writer ranks tensors. `float` is set for the types the kernels can add.
 *
 * Source: `Dtype` in safetensors/src/tensor.rs, 0.8.0.
 */
export const DTYPES = {
	BOOL: { bits: 8, float: false },
	F4: { bits: 4, float: false },
	F6_E2M3: { bits: 6, float: false },
	F6_E3M2: { bits: 6, float: false },
	U8: { bits: 8, float: false },
	I8: { bits: 8, float: false },
	F8_E5M2: { bits: 8, float: false },
	F8_E4M3: { bits: 8, float: false },
	F8_E8M0: { bits: 8, float: false },
	F8_E4M3FNUZ: { bits: 8, float: false },
	F8_E5M2FNUZ: { bits: 8, float: false },
	I16: { bits: 16, float: false },
	U16: { bits: 16, float: false },
	F16: { bits: 16, float: true },
	BF16: { bits: 16, float: true },
	I32: { bits: 32, float: false },
	U32: { bits: 32, float: false },
	F32: { bits: 32, float: true },
	C64: { bits: 64, float: false },
	F64: { bits: 64, float: true },
	I64: { bits: 64, float: false },
	U64: { bits: 64, float: false },
} as const satisfies Record<string, { bits: number; float: boolean }>;

export type Dtype = keyof typeof DTYPES;

/** The types the kernels add. */
export type FloatDtype = {
	[D in Dtype]: (typeof DTYPES)[D]["float"] extends true ? D : never;
}[Dtype];

const RANKS = new Map(Object.keys(DTYPES).map((dtype, rank) => [dtype, rank]));

export const FLOAT_DTYPES = Object.keys(DTYPES).filter((dtype) =>
	isFloatDtype(dtype as Dtype),
) as FloatDtype[];

export function isDtype(text: string): text is Dtype {
	return RANKS.has(text);
}

export function isFloatDtype(dtype: Dtype): dtype is FloatDtype {
	return DTYPES[dtype].float;
}

/** Place in the reference's enum: the writer puts the highest first. */
export function dtypeRank(dtype: Dtype): number {
	return RANKS.get(dtype) ?? -1;
}

/** Bytes of one element of a type that fills whole bytes. */
export function elementByteLength(dtype: FloatDtype): number {
	return DTYPES[dtype].bits / 8;
}
