import type { FileSource } from "../io/file-source.ts";
import type { TensorType } from "../tensor/tensor.ts";
import type { SideFile } from "./side-files.ts";

/** Where the bytes of one tensor lie in a checkpoint. */
export interface CheckpointTensor extends TensorType {
	name: string;
	/** which of the checkpoint's shards, from 0 */
	shardIndex: number;
	/** from the start of that shard's file; behind its end for what the file holds in another order */
	fileOffset: number;
	byteLength: number;
	/** the first tensor of the shard with the same elements in the same place, where there is one before */
	tiedTo?: string;
}

/** A tensor of one weight file. */
export type ShardTensor = Omit<CheckpointTensor, "shardIndex">;

/** One weight file of a checkpoint. */
export interface CheckpointShard {
	fileName: string;
	byteLength: number;
}

/** What a checkpoint holds, without the means to read it: all that planning needs. */
export interface CheckpointLayout {
	/** the folder or file, as the caller named it */
	location: string;
	/** in the order of their file names, numbers in them by value */
	shards: readonly CheckpointShard[];
	/** by name, in the order of shards and of the tensors in each */
	tensors: ReadonlyMap<string, CheckpointTensor>;
	/** the files that are no weights but belong to the model */
	sideFiles: readonly SideFile[];
}

/** A checkpoint, open for reading. Must be closed. */
export interface Checkpoint extends CheckpointLayout {
	shards: readonly OpenShard[];
	/** what a person should know although it stops nothing */
	warnings: readonly string[];
	/** Open one of `sideFiles`. Must be closed. */
	openSideFile(fileName: string): Promise<FileSource>;
	close(): Promise<void>;
}

/** What a weight file holds, and the means to read it. */
export interface ShardContent {
	source: FileSource;
	/** in the order of a safetensors file's bytes, or of a torch file's pickle */
	tensors: readonly ShardTensor[];
	warnings: readonly string[];
}

export interface OpenShard extends CheckpointShard, ShardContent {}
