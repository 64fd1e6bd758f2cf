import { FormatError } from "../errors.ts";
import type { TorchStorage, TorchTensor } from "./torch-values.ts";

/** What a pickle may hold; a number is a whole one. Each kind is tagged, as a tuple is no list. */
export type PickleValue =
	| null
	| boolean
	| number
	| string
	| PickleFloat
	| PickleTuple
	| PickleList
	| PickleDict
	| PickleGlobal
	| TorchStorage
	| TorchTensor;

export interface PickleFloat {
	kind: "float";
	value: number;
}

export interface PickleTuple {
	kind: "tuple";
	items: readonly PickleValue[];
}

export interface PickleList {
	kind: "list";
	items: PickleValue[];
}

/** A dict or, where `ordered`, an OrderedDict; in the order its entries were set. */
export interface PickleDict {
	kind: "dict";
	ordered: boolean;
	entries: Map<string | number, PickleValue>;
}

/** A name from the list of those allowed. It stands for itself: there is nothing behind it. */
export interface PickleGlobal {
	kind: "global";
	module: string;
	name: string;
}

type Tagged = Extract<PickleValue, { kind: string }>;

/** Whether a value is of a kind. */
export function isKind<K extends Tagged["kind"]>(
	value: PickleValue | undefined,
	kind: K,
): value is Extract<Tagged, { kind: K }> {
	return typeof value === "object" && value !== null && value.kind === kind;
}

/** What a value is, for messages. */
export function kindOf(value: PickleValue): string {
	if (value === null) return "None";
	if (typeof value === "boolean") return "a bool";
	if (typeof value === "number") return "an int";
	if (typeof value === "string") return "a str";
	if (value.kind === "global") return `${value.module}.${value.name}`;
	return `a ${value.kind}`;
}

/** A pickle that is refused. Reading one runs nothing, and every message says so. */
export function pickleFault(
	where: string,
	byteOffset: number,
	what: string,
	remedy = "Do not load it with another tool unless you trust where it comes from; ask for safetensors",
): FormatError {
	return new FormatError({
		where: `${where}, byte ${byteOffset}`,
		what: `${what}; nothing was executed`,
		remedy,
	});
}

/** A pickle of which there may be more: the bytes at hand end before it does. */
export class PickleEndsEarly extends FormatError {}
