import type { Header } from "../format/safetensors.ts";
import type { FileSource } from "../io/file-source.ts";
import type { TensorType } from "../tensor/tensor.ts";
import type { SideFile } from "./side-files.ts";

/** Where the bytes of one tensor lie in a checkpoint. */
export interface CheckpointTensor extends TensorType {
	name: string;
	/** which of the checkpoint's shards, from 0 */
	shardIndex: number;
	/** from the start of that shard's file */
	fileOffset: number;
	byteLength: number;
}

/** One weight file of a checkpoint. */
export interface CheckpointShard {
	fileName: string;
	byteLength: number;
}

/** What a checkpoint holds, without the means to read it: all that planning needs. */
export interface CheckpointLayout {
	/** the folder or file, as the caller named it */
	location: string;
	/** in the order of their file names */
	shards: readonly CheckpointShard[];
	/** by name, in the order of shards and bytes */
	tensors: ReadonlyMap<string, CheckpointTensor>;
	/** the files that are no weights but belong to the model */
	sideFiles: readonly SideFile[];
	/** the tokens that added_tokens.json names */
	addedTokens: readonly string[];
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

export interface OpenShard extends CheckpointShard {
	source: FileSource;
	header: Header;
}
