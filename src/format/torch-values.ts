import { DTYPES, type Dtype } from "../tensor/dtype.ts";
import { elementCount, formatShape } from "../tensor/tensor.ts";
import {
	isKind,
	kindOf,
	type PickleDict,
	type PickleGlobal,
	type PickleValue,
} from "./pickle-value.ts";

/** The bytes behind one or more tensors: a record of the file, named by its key. */
export interface TorchStorage {
	kind: "storage";
	key: string;
	/** null: bytes of no type, which each tensor names */
	dtype: Dtype | null;
	/** elements, or bytes where there is no type */
	elementCount: number;
}

/** A tensor as torch's pickle describes it: a strided view of a storage, within its bounds. */
export interface TorchTensor {
	kind: "tensor";
	dtype: Dtype;
	/** outermost first */
	shape: readonly number[];
	storage: TorchStorage;
	/** elements from the start of the storage */
	storageOffset: number;
	/** elements from one to the next along each dimension */
	stride: readonly number[];
}

/** Whether two mentions of one key agree. */
export function sameStorage(a: TorchStorage, b: TorchStorage): boolean {
	return a.dtype === b.dtype && a.elementCount === b.elementCount;
}

/** `6 elements of F16`, for messages. */
export function describeStorage({ dtype, elementCount }: TorchStorage): string {
	return `${elementCount} ${dtype === null ? "bytes of no type" : `elements of ${dtype}`}`;
}

/** Bytes of a storage, or `undefined` where they pass 2^53 − 1. */
export function storageBytes({
	dtype,
	elementCount,
}: TorchStorage): number | undefined {
	const width = dtype === null ? 1 : DTYPES[dtype].bits / 8;
	const bytes = elementCount * width;
	return Number.isSafeInteger(bytes) ? bytes : undefined;
}

type Fail = (what: string) => never;

/** torch's storage classes, `XStorage` and `torch.cuda.XStorage` alike. */
const STORAGES = new Map<string, Dtype>([
	["HalfStorage", "F16"],
	["BFloat16Storage", "BF16"],
	["FloatStorage", "F32"],
	["DoubleStorage", "F64"],
	["LongStorage", "I64"],
	["IntStorage", "I32"],
	["ShortStorage", "I16"],
	["CharStorage", "I8"],
	["ByteStorage", "U8"],
	["BoolStorage", "BOOL"],
	["ComplexFloatStorage", "C64"],
]);
/** torch's dtypes by name, as `_rebuild_tensor_v3` has them; those that safetensors also has. */
const TORCH_DTYPES = new Map<string, Dtype>([
	["bool", "BOOL"],
	["uint8", "U8"],
	["int8", "I8"],
	["uint16", "U16"],
	["int16", "I16"],
	["uint32", "U32"],
	["int32", "I32"],
	["uint64", "U64"],
	["int64", "I64"],
	["float16", "F16"],
	["bfloat16", "BF16"],
	["float32", "F32"],
	["float64", "F64"],
	["complex64", "C64"],
	["float8_e4m3fn", "F8_E4M3"],
	["float8_e5m2", "F8_E5M2"],
	["float8_e4m3fnuz", "F8_E4M3FNUZ"],
	["float8_e5m2fnuz", "F8_E5M2FNUZ"],
	["float8_e8m0fnu", "F8_E8M0"],
]);
const UNTYPED = "torch.storage.UntypedStorage";
/** As torch itself. */
const MAX_DIMENSIONS = 64;

/** The callables a pickle may name, with what takes their place. */
const REBUILDERS = new Map<
	string,
	(args: readonly PickleValue[], fail: Fail) => PickleValue
>([
	["collections.OrderedDict", rebuildOrderedDict],
	["torch._utils._rebuild_tensor_v2", rebuildTensor],
	["torch._utils._rebuild_tensor_v3", rebuildTypedTensor],
	["torch._utils._rebuild_parameter", rebuildParameter],
]);

/** A global that a checkpoint of dense tensors may name, or null for any other. */
export function allowedGlobal(
	module: string,
	name: string,
): PickleGlobal | null {
	const full = `${module}.${name}`;
	const allowed =
		REBUILDERS.has(full) ||
		full === UNTYPED ||
		(["torch", "torch.cuda"].includes(module) && STORAGES.has(name)) ||
		(module === "torch" && TORCH_DTYPES.has(name));
	return allowed ? { kind: "global", module, name } : null;
}

/** As many items as the reader of the pickle lets through. */
type PersistentId = [
	...[PickleValue, PickleValue, PickleValue, PickleValue, PickleValue],
	view?: PickleValue,
];

/**
 * The storage a persistent id names: `('storage', class, key, location, elements)`, in the form before
 * zip archives with a sixth item for views, which no torch has written since 0.4.
 */
export function parsePersistentId(
	items: readonly PickleValue[],
	fail: Fail,
): TorchStorage {
	const [tag, type, key, location, count, view = null] = items as PersistentId;
	if (tag !== "storage")
		fail(`a persistent id of ${describe(tag)}, not of a storage`);
	if (!isKind(type, "global"))
		return fail(`${kindOf(type)} is no class of storages`);
	const full = `${type.module}.${type.name}`;
	const dtype = full === UNTYPED ? null : STORAGES.get(type.name);
	if (dtype === undefined) fail(`${full} is no class of storages`);
	if (typeof key !== "string" || !/^\d{1,20}$/.test(key))
		return fail(`the storage key ${describe(key)} is no number`);
	if (typeof location !== "string") fail("a storage's location is no str");
	if (!isCount(count))
		return fail(`storage ${key} of ${describe(count)} elements`);
	if (view !== null) fail(`storage ${key} is a view of another`);
	return { kind: "storage", key, dtype, elementCount: count };
}

/** What a call gives: its callable and arguments are recognised, or the pickle is refused. */
export function rebuild(
	callable: PickleGlobal,
	args: readonly PickleValue[],
	fail: Fail,
): PickleValue {
	const full = `${callable.module}.${callable.name}`;
	const recognised = REBUILDERS.get(full);
	if (!recognised) return fail(`${full} is called`);
	return recognised(args, (what) => fail(`${full}: ${what}`));
}

function rebuildOrderedDict(
	args: readonly PickleValue[],
	fail: Fail,
): PickleDict {
	if (args.length > 0) fail(`${args.length} arguments, not 0`);
	return { kind: "dict", ordered: true, entries: new Map() };
}

/** Storage, offset, shape, stride, requires_grad and backward_hooks. */
type ViewArguments = [
	...[PickleValue, PickleValue, PickleValue],
	...[PickleValue, PickleValue, PickleValue],
];

/** `(storage, offset, shape, stride, requires_grad, backward_hooks[, metadata])` */
function rebuildTensor(args: readonly PickleValue[], fail: Fail): TorchTensor {
	if (args.length !== 6 && args.length !== 7)
		fail(`${args.length} arguments, not 6 or 7`);
	const [storage, offset, shape, stride, grad, hooks, metadata = null] =
		args as [...ViewArguments, metadata?: PickleValue];
	checkPlain(grad, hooks, metadata, fail);
	if (!isKind(storage, "storage") || storage.dtype === null)
		return fail("its first argument is no storage with a type");
	return viewOf(storage, storage.dtype, [offset, shape, stride], fail);
}

/** The same with `dtype` before `metadata`, over a storage of bytes. */
function rebuildTypedTensor(
	args: readonly PickleValue[],
	fail: Fail,
): TorchTensor {
	if (args.length !== 7 && args.length !== 8)
		fail(`${args.length} arguments, not 7 or 8`);
	const [storage, offset, shape, stride, grad, hooks, type, metadata = null] =
		args as [...ViewArguments, PickleValue, metadata?: PickleValue];
	checkPlain(grad, hooks, metadata, fail);
	if (!isKind(storage, "storage") || storage.dtype !== null)
		return fail("its first argument is no storage of bytes");
	const dtype =
		isKind(type, "global") && type.module === "torch"
			? TORCH_DTYPES.get(type.name)
			: undefined;
	if (dtype === undefined) return fail(`its dtype is ${kindOf(type)}`);
	return viewOf(storage, dtype, [offset, shape, stride], fail);
}

/** `(tensor, requires_grad, backward_hooks)` */
function rebuildParameter(
	args: readonly PickleValue[],
	fail: Fail,
): TorchTensor {
	if (args.length !== 3) fail(`${args.length} arguments, not 3`);
	const [tensor, grad, hooks] = args;
	checkPlain(grad, hooks, null, fail);
	if (!isKind(tensor, "tensor")) return fail("its first argument is no tensor");
	return tensor;
}

/** Hooks are code, and metadata says that all signs or imaginary parts are to be turned: neither may be passed over. */
function checkPlain(
	requiresGrad: PickleValue | undefined,
	hooks: PickleValue | undefined,
	metadata: PickleValue,
	fail: Fail,
): void {
	if (typeof requiresGrad !== "boolean") fail("requires_grad is no bool");
	if (!isKind(hooks, "dict") || hooks.entries.size > 0)
		fail("backward_hooks is not empty");
	const isPlain =
		metadata === null ||
		(isKind(metadata, "dict") && metadata.entries.size === 0);
	if (!isPlain) fail("a tensor with metadata (a conjugate or negative view)");
}

function viewOf(
	storage: TorchStorage,
	dtype: Dtype,
	[storageOffset, ...place]: readonly [PickleValue, PickleValue, PickleValue],
	fail: Fail,
): TorchTensor {
	const [shape, stride] = place.map((value) => {
		const items = isKind(value, "tuple") ? value.items : null;
		if (items === null || items.length > MAX_DIMENSIONS)
			return fail(`shape or stride is no tuple of at most ${MAX_DIMENSIONS}`);
		return items.every(isCount)
			? items
			: fail("shape or stride with no counts");
	}) as [readonly number[], readonly number[]];
	if (!isCount(storageOffset)) return fail("the storage offset is no count");
	if (shape.length !== stride.length)
		fail(`shape ${formatShape(shape)} with stride ${formatShape(stride)}`);
	const count = elementCount(shape);
	if (count === undefined) fail(`shape ${formatShape(shape)} is too large`);
	const tensor: TorchTensor = {
		...{ kind: "tensor", dtype, shape, storage, storageOffset, stride },
	};
	const bytes = DTYPES[dtype].bits / 8;
	const available =
		storage.dtype === null
			? Math.floor(storage.elementCount / bytes)
			: storage.elementCount;
	if (count !== 0 && lastElement(tensor) >= available)
		fail(
			`shape ${formatShape(shape)} with stride ${formatShape(stride)} from ${storageOffset} on reaches beyond the ${available} elements of storage ${storage.key}`,
		);
	return tensor;
}

/** Of a tensor with elements, the one that lies furthest in the storage; beyond 2^53 − 1 it is rounded, but stays there. */
function lastElement({ shape, stride, storageOffset }: TorchTensor): number {
	return shape.reduce(
		(last, dimension, i) => last + (dimension - 1) * (stride[i] as number),
		storageOffset,
	);
}

function isCount(value: PickleValue): value is number {
	return typeof value === "number" && value >= 0;
}

function describe(value: PickleValue): string {
	return typeof value === "string" || typeof value === "number"
		? JSON.stringify(value)
		: kindOf(value);
}
