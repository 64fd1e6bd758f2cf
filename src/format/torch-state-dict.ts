import { FormatError } from "../errors.ts";
import {
	isKind,
	kindOf,
	type PickleDict,
	type PickleList,
	type PickleTuple,
	type PickleValue,
} from "./pickle-value.ts";
import type { TorchTensor } from "./torch-values.ts";

/** Where trainers put the state dict within their checkpoints. */
const USUAL_KEYS = ["state_dict", "model_state_dict", "model", "module"];
/** Deeper than any trainer nests. */
const MAX_DEPTH = 6;
const SHOWN = 10;

/** The named tensors of a checkpoint. */
export interface StateDict {
	/** in the order of the pickle */
	entries: (readonly [name: string, tensor: TorchTensor])[];
	warnings: string[];
}

/**
 * Find the state dict in what a pickle holds: the dict itself, or the one that a trainer's checkpoint
 * holds under a usual key, or its only one.
 *
 * @throws {FormatError} where there is none, or it is unclear which; names all places with tensors
 */
export function findStateDict(root: PickleValue, where: string): StateDict {
	if (!isKind(root, "dict"))
		throw new FormatError({
			where,
			what: "no state dict",
			expected: "a dict of tensors",
			found: kindOf(root),
			remedy: "Save model.state_dict() alone",
		});
	const key = chooseKey(root, where);
	if (key === null) return readStateDict(root, where, []);
	const nested = root.entries.get(key) as PickleDict;
	return readStateDict(nested, where, [
		`${where}: the tensors in ${JSON.stringify(key)} are read, what else the checkpoint holds is not`,
	]);
}

/** The key under which the state dict stands, or null where it is the root itself. */
function chooseKey(root: PickleDict, where: string): string | null {
	const holding = new Map<PickleValue, boolean>();
	const nested: string[] = [];
	for (const [key, value] of root.entries) {
		if (typeof key !== "string" || !isKind(value, "dict")) continue;
		const holds = holding.get(value) ?? holdsTensors(value);
		holding.set(value, holds);
		if (holds) nested.push(key);
	}
	const usual = nested.filter((key) => USUAL_KEYS.includes(key));
	const [only, ...others] = usual.length > 0 ? usual : nested;
	if (usual.length === 0 && holdsTensors(root)) {
		if (nested.length === 0) return null;
		throw unclear(root, where, "tensors in the dict and in others within it");
	}
	if (only !== undefined && others.length === 0) return only;
	throw unclear(
		root,
		where,
		only === undefined ? "no state dict" : "more than one state dict",
	);
}

function holdsTensors({ entries }: PickleDict): boolean {
	for (const value of entries.values())
		if (isKind(value, "tensor")) return true;
	return false;
}

/** All tensors of a dict; what else is in it is told, unless tensors are hidden there. */
function readStateDict(
	dict: PickleDict,
	where: string,
	warnings: string[],
): StateDict {
	const entries: StateDict["entries"] = [];
	const others: PickleDict["entries"] = new Map();
	for (const [name, value] of dict.entries) {
		if (!isKind(value, "tensor")) others.set(name, value);
		else if (typeof name === "string") entries.push([name, value]);
		else
			throw new FormatError({
				where,
				what: `a tensor is named by the number ${name}`,
				remedy: "Save model.state_dict() alone",
			});
	}
	if (tensorPaths({ ...dict, entries: others }).length > 0)
		throw unclear(dict, where, "tensors in the state dict and deeper in it");
	if (others.size > 0) {
		const names = [...others.keys()].slice(0, 3).join(", ");
		warnings.push(
			`${where}: what is no tensor in the state dict is not read: ${names}${others.size > 3 ? ` and ${others.size - 3} more` : ""}`,
		);
	}
	return { entries, warnings };
}

function unclear(root: PickleDict, where: string, what: string): FormatError {
	const paths = tensorPaths(root);
	return new FormatError({
		where,
		what,
		found:
			paths.length === 0
				? "no tensor at all"
				: `tensors in ${paths.slice(0, 3).join(", ")}${paths.length > 3 ? ", …" : ""}`,
		remedy: "Save the model's state dict alone",
		details: paths.slice(0, SHOWN),
	});
}

/** The places in a value that hold tensors, as `a.b (12 tensors)`; each container is entered once. */
function tensorPaths(root: PickleDict): string[] {
	const paths: string[] = [];
	const seen = new Set<Container>([root]);
	const pending: { value: Container; path: string; depth: number }[] = [
		{ value: root, path: "", depth: 0 },
	];
	for (const { value, path, depth } of pending) {
		let tensors = 0;
		for (const [key, child] of childrenOf(value)) {
			if (isKind(child, "tensor")) tensors++;
			if (depth === MAX_DEPTH || !isContainer(child) || seen.has(child))
				continue;
			seen.add(child);
			const childPath = path === "" ? key : `${path}.${key}`;
			pending.push({ value: child, path: childPath, depth: depth + 1 });
		}
		if (tensors > 0)
			paths.push(`${path || "the dict itself"} (${tensors} tensors)`);
	}
	return paths;
}

type Container = PickleDict | PickleList | PickleTuple;

function isContainer(value: PickleValue): value is Container {
	return (
		isKind(value, "dict") || isKind(value, "list") || isKind(value, "tuple")
	);
}

function childrenOf(value: Container): [key: string, child: PickleValue][] {
	return value.kind === "dict"
		? Array.from(value.entries, ([key, child]) => [String(key), child])
		: value.items.map((item, i) => [String(i), item]);
}
