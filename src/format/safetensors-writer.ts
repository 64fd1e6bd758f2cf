import { FormatError } from "../errors.ts";
import { type Dtype, dtypeRank } from "../tensor/dtype.ts";
import {
	formatShape,
	type TensorType,
	tensorByteLength,
} from "../tensor/tensor.ts";
import {
	HEADER_LENGTH_BYTES,
	MAX_HEADER_JSON_BYTES,
	type TensorInfo,
} from "./safetensors.ts";

/**
 * Order tensors as the reference writer does: dtype rank descending, then name by UTF-8 bytes.
 * (JavaScript's own `<` compares UTF-16 units, which differs beyond the basic plane.)
 */
export function canonicalOrder<T extends { name: string; dtype: Dtype }>(
	tensors: Iterable<T>,
): T[] {
	return Array.from(tensors, (tensor) => ({
		tensor,
		key: Buffer.from(tensor.name),
	}))
		.sort(
			(a, b) =>
				dtypeRank(b.tensor.dtype) - dtypeRank(a.tensor.dtype) ||
				Buffer.compare(a.key, b.key),
		)
		.map(({ tensor }) => tensor);
}

/**
 * Header of a file that holds `tensors` back to back in canonical order, byte for byte what
 * `safetensors.torch.save_file` writes (for at most one metadata key; more come out in random order
 * there, and sorted here).
 *
 * @param tensors   in any order
 * @param metadata  `__metadata__`, or null for none
 * @returns the padded JSON (see {@link headerBytes}), its length with the 8 bytes before it, and the
 *   tensors in file order with their place
 * @throws {FormatError} where the format cannot hold them
 */
export function encodeHeader(
	tensors: Iterable<TensorType & { name: string }>,
	metadata: ReadonlyMap<string, string> | null,
	where: string,
): { json: string; byteLength: number; tensors: TensorInfo[] } {
	const placed: TensorInfo[] = [];
	let begin = 0;
	for (const { name, dtype, shape } of canonicalOrder(tensors)) {
		if (name === "__metadata__")
			throw new FormatError({
				where,
				what: 'a tensor named "__metadata__" cannot be written',
				remedy: "Rename it in the source",
			});
		const byteLength = tensorByteLength({ dtype, shape });
		if (byteLength === undefined || !Number.isSafeInteger(begin + byteLength))
			throw new FormatError({
				where: `${where}, tensor ${JSON.stringify(name)}`,
				what: `${dtype} ${formatShape(shape)} does not fill whole bytes below 2^53`,
			});
		placed.push({
			name,
			dtype,
			shape,
			dataOffsets: [begin, begin + byteLength],
		});
		begin += byteLength;
	}
	const members = placed.map(
		({ name, dtype, shape, dataOffsets }) =>
			`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: dataOffsets })}`,
	);
	if (metadata !== null) {
		const pairs = [...metadata]
			.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
			.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
		members.unshift(`"__metadata__":{${pairs.join(",")}}`);
	}
	const json = `{${members.join(",")}}`;
	const jsonBytes = Buffer.byteLength(json);
	const padding = (8 - (jsonBytes % 8)) % 8;
	if (jsonBytes + padding > MAX_HEADER_JSON_BYTES)
		throw new FormatError({
			where,
			what: "header too long",
			expected: `at most ${MAX_HEADER_JSON_BYTES} bytes`,
			found: `${jsonBytes + padding}`,
			remedy: "Use more, smaller shards",
		});
	return {
		json: json + " ".repeat(padding),
		byteLength: HEADER_LENGTH_BYTES + jsonBytes + padding,
		tensors: placed,
	};
}

/** The first `8 + N` bytes of a file whose header is this JSON of `N` bytes. */
export function headerBytes(json: string): Uint8Array {
	const text = Buffer.from(json);
	const length = Buffer.alloc(HEADER_LENGTH_BYTES);
	length.writeBigUInt64LE(BigInt(text.length));
	return Buffer.concat([length, text]);
}
