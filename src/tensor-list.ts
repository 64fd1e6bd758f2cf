import type { Checkpoint, CheckpointTensor } from "./checkpoint/checkpoint.ts";
import { openCheckpoint } from "./checkpoint/open-checkpoint.ts";
import { digestStretch } from "./engine/digest-stretch.ts";
import { type ReadingChoices, withReadingEngine } from "./engine/engine.ts";
import { inTurn } from "./engine/in-turn.ts";
import { FormatError, UsageError, VerificationError } from "./errors.ts";
import { JsonScanner } from "./format/json-scanner.ts";
import { readWhole } from "./io/read-whole.ts";
import { systemErrorCode } from "./io/system-error.ts";
import { formatShape } from "./tensor/tensor.ts";

/** A list of half a million tensors has a quarter of it. */
const MAX_LIST_BYTES = 2 ** 29;
const LIST_VERSION = 1;

/** What a tensor must be. */
interface ListedTensor {
	name: string;
	dtype: string;
	shape: readonly number[];
	sha256: string;
}

export interface TensorList {
	/** the file */
	from: string;
	tensors: readonly ListedTensor[];
}

export interface VerifiedTensor {
	tensor: string;
	/** `FAILED`: other elements, or another type; `MISSING`: not there */
	status: "OK" | "FAILED" | "MISSING";
	/** type and SHA-256 */
	expected: string;
	found: string | null;
}

/**
 * SHA-256 of the elements of tensors, row by row, in hex: the same whatever file they lie in. Several are
 * read at once, in constant memory.
 *
 * @param tensors  of the checkpoint
 * @param tell     called with each in turn
 */
export async function digestTensors(
	{ shards }: Checkpoint,
	tensors: readonly CheckpointTensor[],
	choices: ReadingChoices,
	tell?: (sha256: string, tensor: CheckpointTensor) => void,
): Promise<string[]> {
	const bytes = tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
	return withReadingEngine(choices, bytes, async (engine) => {
		for (const { source } of shards)
			await source.chooseReading(engine.options.directIo);
		let told = 0;
		const sums = await inTurn(
			tensors,
			engine.crew.threads,
			async (tensor) => {
				const source = shards[tensor.shardIndex]?.source;
				if (source === undefined)
					throw new RangeError(`no shard ${tensor.shardIndex}`);
				return digestStretch(engine, source, tensor, source.path);
			},
			(sha256) => tell?.(sha256, tensors[told++] as CheckpointTensor),
		);
		for (const { source } of shards) await source.checkUnchanged();
		return sums;
	});
}

/**
 * Verify the tensors of a model, in whatever format, against a list of them.
 *
 * @param location  a folder with weights, or one weight file
 * @throws as `openCheckpoint` does
 */
export async function verifyTensors(
	location: string,
	list: TensorList,
	options: ReadingChoices & {
		allowExtra?: boolean | undefined;
		onTensor?: ((tensor: VerifiedTensor) => void) | undefined;
	},
): Promise<{
	tensors: VerifiedTensor[];
	problems: string[];
	warnings: readonly string[];
}> {
	const checkpoint = await openCheckpoint(location);
	try {
		const expected = new Map(list.tensors.map((each) => [each.name, each]));
		const [tensors, problems]: [VerifiedTensor[], string[]] = [[], []];
		const tell = (tensor: VerifiedTensor) => {
			tensors.push(tensor);
			options.onTensor?.(tensor);
		};
		for (const each of list.tensors)
			if (!checkpoint.tensors.has(each.name))
				tell(judge(each, null, "MISSING"));
		const present: CheckpointTensor[] = [];
		for (const tensor of checkpoint.tensors.values()) {
			const each = expected.get(tensor.name);
			if (each === undefined) {
				if (!options.allowExtra)
					problems.push(
						`tensor ${JSON.stringify(tensor.name)}: not in ${list.from}`,
					);
			} else if (typeOf(each) === typeOf(tensor)) present.push(tensor);
			else tell(judge(each, typeOf(tensor), "FAILED"));
		}
		await digestTensors(checkpoint, present, options, (sha256, tensor) => {
			const each = expected.get(tensor.name) as ListedTensor;
			const status = each.sha256 === sha256 ? "OK" : "FAILED";
			tell(judge(each, describe({ ...tensor, sha256 }), status));
		});
		return { tensors, problems, warnings: checkpoint.warnings };
	} finally {
		await checkpoint.close();
	}
}

function judge(
	each: ListedTensor,
	found: string | null,
	status: VerifiedTensor["status"],
): VerifiedTensor {
	return { tensor: each.name, status, expected: describe(each), found };
}

type Typed = Pick<ListedTensor, "dtype" | "shape">;

function typeOf({ dtype, shape }: Typed): string {
	return `${dtype} ${formatShape(shape)}`;
}

function describe(tensor: Typed & { sha256: string }): string {
	return `${typeOf(tensor)} ${tensor.sha256}`;
}

/**
 * Read a list of tensors, as `inspect` gives it with `digests`.
 *
 * @throws {UsageError} where there is no such file
 * @throws {FormatError} where it is malformed, or of a newer version
 * @throws {VerificationError} where it lists no tensor
 */
export async function readTensorList(file: string): Promise<TensorList> {
	const bytes = await readWhole(file, MAX_LIST_BYTES).catch((error) => {
		if (systemErrorCode(error.cause) !== "ENOENT") throw error;
		throw new UsageError({
			where: file,
			what: "no such file",
			remedy: "Make one with merge-delta inspect --digests --json",
		});
	});
	const tensors = parseTensorList(bytes, file);
	if (tensors.length > 0) return { from: file, tensors };
	throw new VerificationError({
		where: file,
		what: "no tensor in it, so nothing was verified",
	});
}

/** @param where  the file, for messages */
export function parseTensorList(
	bytes: Uint8Array,
	where: string,
): ListedTensor[] {
	const json = new JsonScanner(bytes, where);
	let version: number | null = null;
	const tensors = new Map<string, ListedTensor>();
	json.object((name) => {
		if (name === "schemaVersion") version = json.integer();
		else if (name === "tensors") json.array(() => addTensor(json, tensors));
		else json.skip();
	});
	json.end();
	if (version !== LIST_VERSION)
		throw new FormatError({
			where,
			what: "no list of tensors that this merge-delta knows",
			expected: `schemaVersion ${LIST_VERSION}`,
			found: `${version}`,
			remedy: "Make one with merge-delta inspect --digests --json",
		});
	return [...tensors.values()];
}

function addTensor(
	json: JsonScanner,
	tensors: Map<string, ListedTensor>,
): void {
	const { offset } = json;
	const text: Partial<Record<string, string>> = {};
	const shape: number[] = [];
	json.object((field) => {
		if (["name", "dtype", "sha256"].includes(field))
			text[field] = json.string();
		else if (field === "shape") json.array(() => shape.push(json.integer()));
		else json.skip();
	});
	const { name, dtype, sha256 } = text;
	if (name === undefined || !dtype || !/^[0-9a-f]{64}$/.test(sha256 ?? ""))
		json.fail(
			"a tensor without name, dtype or sha256",
			offset,
			"what inspect gives with --digests",
		);
	if (tensors.has(name))
		json.fail(`tensor ${JSON.stringify(name)} twice`, offset);
	tensors.set(name, { name, dtype, shape, sha256: sha256 as string });
}
