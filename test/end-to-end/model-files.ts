import {
	encodeHeader,
	headerBytes,
} from "../../src/format/safetensors-writer.ts";
import { encodeF16 } from "../../src/tensor/float.ts";
import { gaussian } from "../delta/synthetic-weights.ts";
import {
	dict,
	int,
	join,
	pickle,
	storage,
	tensor,
	text,
	tuple,
	zipFile,
} from "../format/torch-bytes.ts";

/** How the files of a model are written. */
export type Form = "safetensors" | "torch" | "legacy torch";

interface Tensor {
	name: string;
	shape: readonly [number] | readonly [number, number];
	bytes: Uint8Array;
}

/** Bytes of one matrix; of a model there are four, and headers and norms, which are small. */
export const MATRIX_BYTES = 2 ** 20;
export const WEIGHT_BYTES = 4 * MATRIX_BYTES;
const SHAPE = [1024, 512] as const;
/** Standard deviations of matrices and norms, and the norms' mean; `other` is a model like the base, of other values. */
const SIZES = {
	base: { seed: 1, matrix: 0.02, norm: 0.1, mean: 0.7 },
	delta: { seed: 2, matrix: 0.002, norm: 0.01, mean: 0 },
	other: { seed: 3, matrix: 0.02, norm: 0.1, mean: 0.7 },
};

/**
 * The files of a model in two shards, large beside its headers and beside the samples that are taken of it. Its
 * values are such that a base and a delta are taken for what they are.
 */
export function modelFiles(
	side: keyof typeof SIZES,
	form: Form,
	shape: readonly [number, number] = SHAPE,
): Record<string, Uint8Array | string> {
	const { seed, matrix, norm, mean } = SIZES[side];
	const [draw, norms] = [drawn(seed, matrix, 0), drawn(seed + 9, norm, mean)];
	const layers = Array.from({ length: 4 }, (_, i): Tensor[] => [
		{
			...{ name: `model.layers.${i}.input_layernorm.weight`, shape: [512] },
			bytes: norms(i, 512),
		},
		{
			...{ name: `model.layers.${i}.mlp.up_proj.weight`, shape },
			bytes: draw(i, shape[0] * shape[1]),
		},
	]);
	const files: Record<string, Uint8Array | string> = {
		"config.json": JSON.stringify({ model_type: "llama" }),
		"tokenizer.json": "{}",
	};
	const map: Record<string, string> = {};
	for (const [i, tensors] of [layers.slice(0, 2), layers.slice(2)].entries()) {
		const name = FORMS[form].name(i + 1);
		files[name] = FORMS[form].write(tensors.flat());
		for (const tensor of tensors.flat()) map[tensor.name] = name;
	}
	files[FORMS[form].index] = JSON.stringify({ metadata: {}, weight_map: map });
	return files;
}

/** Of the n-th tensor, so many F16: normally distributed, drawn once, and begun elsewhere for each. */
function drawn(seed: number, size: number, mean: number) {
	const next = gaussian(seed);
	const once = Uint16Array.from({ length: 32_749 }, () =>
		encodeF16(mean + size * next()),
	);
	return (n: number, count: number): Uint8Array => {
		const values = new Uint16Array(count);
		let from = (n * 4099) % once.length;
		for (let at = 0; at < count; from = 0) {
			const some = once.subarray(from, from + count - at);
			values.set(some, at);
			at += some.length;
		}
		return new Uint8Array(values.buffer);
	};
}

const torch = {
	name: (number: number) => `pytorch_model-0000${number}-of-00002.bin`,
	index: "pytorch_model.bin.index.json",
};
const FORMS: Record<
	Form,
	{
		name(number: number): string;
		index: string;
		write(tensors: readonly Tensor[]): Uint8Array;
	}
> = {
	safetensors: {
		name: (number) => `model-0000${number}-of-00002.safetensors`,
		index: "model.safetensors.index.json",
		write: writeSafetensors,
	},
	torch: { ...torch, write: writeArchive },
	"legacy torch": { ...torch, write: writeLegacy },
};

const PT = new Map([["format", "pt"]]);

function writeSafetensors(tensors: readonly Tensor[]): Uint8Array {
	const typed = tensors.map(({ name, shape }) => ({
		...{ name, shape: [...shape], dtype: "F16" as const },
	}));
	const { json, tensors: placed } = encodeHeader(typed, PT, "model");
	const bytes = new Map(tensors.map((each) => [each.name, each.bytes]));
	return Buffer.concat([
		headerBytes(json),
		...placed.map(({ name }) => bytes.get(name) as Uint8Array),
	]);
}

/** The dict of a file's tensors, with the storages as they are written. */
function objectOf(
	tensors: readonly Tensor[],
	toStorage: (key: string, count: number) => Buffer,
): Buffer {
	const items = tensors.map(({ name, shape, bytes }, i) => {
		const stride = shape.length === 1 ? [1] : [shape[1], 1];
		const of = toStorage(String(i), bytes.length / 2);
		return [name, tensor(of, shape, stride)] as const;
	});
	return pickle(dict(Object.fromEntries(items)));
}

function writeArchive(tensors: readonly Tensor[]): Uint8Array {
	const records = [
		["data.pkl", objectOf(tensors, storage)],
		["byteorder", Buffer.from("little")],
		...tensors.map(({ bytes }, i) => [`data/${i}`, bytes] as const),
		["version", Buffer.from("3\n")],
	] as const;
	return zipFile(
		records.map(([name, data]) => ({ name: `archive/${name}`, data })),
	);
}

/** Storages in another order than the tensors, as they are in life: by their addresses. */
function writeLegacy(tensors: readonly Tensor[]): Uint8Array {
	const order = [...tensors.keys()].reverse();
	const legacyStorage = (key: string, count: number) =>
		join(
			tuple(
				...[text("storage"), "ctorch\nHalfStorage\n", text(key)],
				...[text("cpu"), int(count), "N"],
			),
			"Q",
		);
	return Buffer.concat([
		Buffer.from("80028a0a6cfc9c46f9206aa850192e80024de9032e", "hex"),
		pickle(dict({ little_endian: Buffer.from("\x88", "latin1") })),
		objectOf(tensors, legacyStorage),
		pickle("](", ...order.map((key) => text(String(key))), "e"),
		...order.flatMap((key) => {
			const { bytes } = tensors[key] as Tensor;
			const length = Buffer.alloc(8);
			length.writeBigInt64LE(BigInt(bytes.length / 2));
			return [length, bytes];
		}),
	]);
}
