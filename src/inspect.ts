import { bringInputs } from "./bring-inputs.ts";
import type { Checkpoint } from "./checkpoint/checkpoint.ts";
import { openCheckpoint, openModel } from "./checkpoint/open-checkpoint.ts";
import type { ReadingChoices } from "./engine/engine.ts";
import { type FetchChoices, type Located, locateInputs } from "./locate.ts";
import type { Dtype } from "./tensor/dtype.ts";
import { elementCount } from "./tensor/tensor.ts";
import { digestTensors } from "./tensor-list.ts";

export interface InspectOptions extends FetchChoices, ReadingChoices {
	/** take the SHA-256 of every tensor too, which reads all of the model */
	digests?: boolean | undefined;
}

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
		/** of its elements, row by row, where it was asked for */
		sha256?: string;
	}[];
	dtypes: { dtype: Dtype; tensors: number; byteLength: number }[];
	sideFiles: string[];
	totals: { tensors: number; elements: number; byteLength: number };
	warnings: readonly string[];
}

/**
 * List the tensors of a checkpoint. Reads headers only, on the Hub too, and stores nothing, unless `digests` are wanted.
 *
 * @param location  a folder with weights, one weight file, or a repository of the Hub, `org/name[@revision]`
 * @throws {FormatError} where it is malformed
 */
export async function inspect(
	location: string,
	options: InspectOptions = {},
): Promise<InspectReport> {
	const { checkpoint, close } = await open(location, options);
	try {
		const { shards, tensors, sideFiles, warnings } = checkpoint;
		const dtypes = new Map<Dtype, { tensors: number; byteLength: number }>();
		const sums = options.digests
			? await digestTensors(checkpoint, [...tensors.values()], options)
			: [];
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
				({ name, dtype, shape, byteLength, shardIndex }, i) => ({
					...{ name, dtype, shape, byteLength },
					fileName: shards[shardIndex]?.fileName ?? "",
					...(sums[i] === undefined ? {} : { sha256: sums[i] }),
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

/** Headers are read where they are; for the digests of a model on the Hub all of it is brought here. */
async function open(
	location: string,
	options: InspectOptions,
): Promise<{ checkpoint: Checkpoint; close(): Promise<void> }> {
	if (options.digests) {
		const [brought] = await bringInputs([location], options);
		const checkpoint = await openCheckpoint(brought?.path ?? location);
		return { checkpoint, close: async () => {} };
	}
	const [located] = await locateInputs([location], options);
	const { model, close } = located as Located;
	return { checkpoint: await openModel(model), close };
}
