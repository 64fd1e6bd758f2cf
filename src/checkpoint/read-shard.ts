import path from "node:path";
import { FormatError } from "../errors.ts";
import { pickleFault } from "../format/pickle-value.ts";
import {
	HEADER_LENGTH_BYTES,
	type Header,
	parseHeader,
	parseHeaderLength,
} from "../format/safetensors.ts";
import { isZip, parseRecognising } from "../format/signature.ts";
import { isLegacyTorch } from "../format/torch-legacy.ts";
import type { ByteSource } from "../io/byte-source.ts";
import type { FileSource } from "../io/file-source.ts";
import type { ShardContent } from "./checkpoint.ts";
import { openLegacyTorch, openTorchArchive } from "./open-torch-shard.ts";

/** Enough to tell one format from another, and what a file is that is neither. */
const START_BYTES = 512;
const TORCH_NAME = /\.(bin|pth|pt)$/i;
const SAFETENSORS_NAME = /\.safetensors$/i;
const [OPEN_BRACE, PROTO] = [0x7b, 0x80];

/**
 * Read what a weight file says it holds, in the format its first bytes show, whatever its name.
 *
 * @throws {FormatError} where it is malformed or of no format that can be read
 */
export async function readShard(file: FileSource): Promise<ShardContent> {
	const { path: where, byteLength } = file;
	const start = new Uint8Array(Math.min(START_BYTES, byteLength));
	await file.read(0, start);
	const name = path.basename(where);
	const torch = isZip(start)
		? openTorchArchive
		: isLegacyTorch(start)
			? openLegacyTorch
			: null;
	if (torch !== null) {
		const content = await torch(file);
		if (!SAFETENSORS_NAME.test(name)) return content;
		const warning = `${where}: a torch checkpoint, whatever its name says`;
		return { ...content, warnings: [warning, ...content.warnings] };
	}
	const warnings: string[] = [];
	if (TORCH_NAME.test(name)) {
		if (start[HEADER_LENGTH_BYTES] !== OPEN_BRACE) refuseTorch(start, where);
		warnings.push(`${where}: a safetensors file, whatever its name says`);
	}
	const header = await readHeader(file, where);
	return {
		source: file,
		tensors: header.tensors.map(({ name, dtype, shape, dataOffsets }) => ({
			...{ name, dtype, shape },
			fileOffset: header.byteLength + dataOffsets[0],
			byteLength: dataOffsets[1] - dataOffsets[0],
		})),
		warnings: [...warnings, ...header.warnings],
	};
}

/** @throws {FormatError} that says what the file is instead, where that can be seen */
function refuseTorch(start: Uint8Array, where: string): never {
	if (start[0] === PROTO && (start[1] ?? 0) >= 2 && (start[1] ?? 0) <= 5)
		throw pickleFault(where, 0, "a pickle that is no torch checkpoint");
	return parseRecognising(start, where, "a torch checkpoint", () => {
		throw new FormatError({
			where,
			what: "neither a torch checkpoint nor a safetensors file",
			remedy: "Incomplete, damaged or something else: get the file again",
		});
	});
}

/**
 * Read and parse the header of a safetensors file.
 *
 * @param where  the file, for messages
 */
export async function readHeader(
	source: ByteSource,
	where: string,
): Promise<Header> {
	const start = new Uint8Array(Math.min(START_BYTES, source.byteLength));
	await source.read(0, start);
	const recognising = <T>(parse: () => T) =>
		parseRecognising(start, where, "a safetensors file", parse);
	const first = start.subarray(0, HEADER_LENGTH_BYTES);
	const jsonLength = recognising(() =>
		parseHeaderLength(first, source.byteLength, where),
	);
	const bytes = new Uint8Array(HEADER_LENGTH_BYTES + jsonLength);
	await source.read(0, bytes);
	return recognising(() => parseHeader(bytes, source.byteLength, where));
}
