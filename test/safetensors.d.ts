/** The npm package carries no types. */
declare module "safetensors" {
	export class SafeTensor {
		constructor(file: Uint8Array);
		readonly metadata: Map<string, { dtype: string; shape: number[] }>;
		/** the bytes of a tensor */
		getTensor(name: string): Uint8Array;
	}
}
