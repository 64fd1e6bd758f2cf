import { FormatError } from "../errors.ts";
import { JsonScanner } from "./json-scanner.ts";
import { checkShardName } from "./shard-name.ts";

export const INDEX_FILE_NAME = "model.safetensors.index.json";
export const TORCH_INDEX_FILE_NAME = "pytorch_model.bin.index.json";
/** Kimi-K3's index is 60 MB; this leaves room and bounds memory. */
export const MAX_INDEX_BYTES = 250_000_000;
export const MAX_SHARDS = 10_000;

/** `model.safetensors.index.json` or `pytorch_model.bin.index.json`: which shard holds each tensor. */
export interface ShardIndex {
	/** tensor name → shard file name */
	weightMap: ReadonlyMap<string, string>;
	/** bytes of all tensors, where the file says so */
	totalSize: number | null;
}

/**
 * Parse a shard index as transformers and huggingface_hub write it.
 *
 * @throws {FormatError} with the byte offset, also for a shard name that could leave the folder
 */
export function parseShardIndex(bytes: Uint8Array, where: string): ShardIndex {
	const scanner = new JsonScanner(bytes, where);
	const weightMap = new Map<string, string>();
	const shardNames = new Map<string, string>();
	let found = false;
	let totalSize: number | null = null;
	scanner.object((section) => {
		if (section === "metadata" && scanner.peek() === "{") {
			scanner.object((key) => {
				if (key === "total_size" && /\d/.test(scanner.peek()))
					totalSize = readTotalSize(scanner);
				else scanner.skip();
			});
		} else if (section === "weight_map") {
			found = true;
			scanner.object((tensor) => {
				scanner.peek();
				const offset = scanner.offset;
				const shardName = scanner.string();
				const known = shardNames.get(shardName.toLowerCase());
				if (known !== undefined && known !== shardName)
					scanner.fail(
						`shard names ${JSON.stringify(known)} and ${JSON.stringify(shardName)} are one file where case does not count`,
						offset,
					);
				if (known === undefined) {
					checkShardName(shardName, `${where}, byte ${offset}`);
					shardNames.set(shardName.toLowerCase(), shardName);
					if (shardNames.size > MAX_SHARDS)
						scanner.fail(`more than ${MAX_SHARDS} shards`, offset);
				}
				weightMap.set(tensor, shardName);
			});
		} else scanner.skip();
	});
	scanner.end();
	if (!found || weightMap.size === 0)
		throw new FormatError({
			where,
			what: found ? "weight_map is empty" : "no weight_map",
			remedy: "Not a shard index, or a damaged one: get the file again",
		});
	return { weightMap, totalSize };
}

/** Some writers give a float here (`26031728640.0`); it is checked for information only. */
function readTotalSize(scanner: JsonScanner): number | null {
	const value = scanner.number();
	return Number.isSafeInteger(value) ? value : null;
}

/**
 * Text of an index, byte for byte as transformers 5 writes it: two-space indent, names sorted by code
 * point, everything beyond ASCII escaped, newline at the end.
 *
 * @param weightMap        tensor name → shard file name
 * @param totalSize        bytes of all tensors
 * @param totalParameters  elements of all tensors
 */
export function encodeShardIndex(
	weightMap: ReadonlyMap<string, string>,
	totalSize: number,
	totalParameters: number,
): string {
	const names = Array.from(weightMap, ([name, shard]) => ({
		key: Buffer.from(name),
		line: `    ${asciiJson(name)}: ${asciiJson(shard)}`,
	})).sort((a, b) => Buffer.compare(a.key, b.key));
	return `{
  "metadata": {
    "total_parameters": ${totalParameters},
    "total_size": ${totalSize}
  },
  "weight_map": {
${names.map(({ line }) => line).join(",\n")}
  }
}
`;
}

/** A JSON string in ASCII, as Python's `json.dumps` spells it. */
function asciiJson(text: string): string {
	return JSON.stringify(text).replace(
		/[\u007f-\uffff]/g,
		(unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
	);
}
