import { openModel } from "./checkpoint/open-checkpoint.ts";
import { type FetchChoices, type Located, locateInputs } from "./locate.ts";
import type { Dtype } from "./tensor/dtype.ts";
import { elementCount } from "./tensor/tensor.ts";

/** What a checkpoint holds, as its headers say. */
export interface InspectReport {
	location: string;
	shards: { fileName: string; byteLength: number; tensors: number }[];
	/** in the order of shards and of the tensors in each */
	tensors: {
		name: string;
		dtype: Dtype;
		shape: readonly number[];
		byteLength: number;
		fileName: string;
	}[];
	dtypes: { dtype: Dtype; tensors: number; byteLength: number }[];
	sideFiles: string[];
	totals: { tensors: number; elements: number; byteLength: number };
	warnings: readonly string[];
}

/**
 * List the tensors of a checkpoint. Reads headers only, on the Hub too, and stores nothing.
 *
 * @param location  a folder with weights, one weight file, or a repository of the Hub, `org/name[@revision]`
 * @throws {FormatError} where it is malformed
 */
export async function inspect(
	location: string,
	choices: FetchChoices = {},
): Promise<InspectReport> {
	const [located] = await locateInputs([location], choices);
	const { model, close } = located as Located;
	const checkpoint = await openModel(model);
	try {
		const { shards, tensors, sideFiles, warnings } = checkpoint;
		const dtypes = new Map<Dtype, { tensors: number; byteLength: number }>();
		const totals = { tensors: 0, elements: 0, byteLength: 0 };
		for (const { dtype, shape, byteLength } of tensors.values()) {
			const sum = dtypes.get(dtype) ?? { tensors: 0, byteLength: 0 };
			sum.tensors++;
			sum.byteLength += byteLength;
			dtypes.set(dtype, sum);
			totals.tensors++;
			totals.elements += elementCount(shape) ?? 0;
			totals.byteLength += byteLength;
		}
		return {
			location,
			shards: shards.map(({ fileName, byteLength, tensors }) => ({
				fileName,
				byteLength,
				tensors: tensors.length,
			})),
			tensors: Array.from(
				tensors.values(),
				({ name, dtype, shape, byteLength, shardIndex }) => ({
					name,
					dtype,
					shape,
					byteLength,
					fileName: shards[shardIndex]?.fileName ?? "",
				}),
			),
			dtypes: Array.from(dtypes, ([dtype, sum]) => ({ dtype, ...sum })),
			sideFiles: sideFiles.map(({ fileName }) => fileName),
			totals,
			warnings,
		};
	} finally {
		await checkpoint.close();
		await close();
	}
}
