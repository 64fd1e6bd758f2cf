import { PickleBytes } from "./pickle-bytes.ts";
import { describeOpcode } from "./pickle-opcodes.ts";
import {
	isKind,
	kindOf,
	type PickleDict,
	type PickleTuple,
	type PickleValue,
	pickleFault,
} from "./pickle-value.ts";
import {
	allowedGlobal,
	describeStorage,
	parsePersistentId,
	rebuild,
	sameStorage,
	type TorchStorage,
} from "./torch-values.ts";

/** Far more than the largest checkpoints have; they bound time and memory on a hostile file. */
export const MAX_PICKLE_BYTES = 64_000_000;
const MAX_OPCODES = 1_000_000;
const MAX_STACK = 10_000;
const MAX_MEMO = 100_000;
const PROTOCOL = 2;
const PROTO = 0x80;

/** Where in `bytes` a pickle lies, and of what kind its persistent ids are. */
export interface PickleOptions {
	/** default 0 */
	byteOffset?: number;
	/** default true: the pickle reaches to the end of `bytes` */
	whole?: boolean;
	/** items of a persistent id: 5 in zip archives, 6 in the form before them */
	persistentIdItems?: 5 | 6;
}

/**
 * Parse the pickle of a torch checkpoint. Nothing in it is ever called, imported or made: a global is a
 * name from a short list, and a call is recognised by its callable and arguments or refused.
 *
 * @param bytes  the pickle, and nothing else
 * @param where  the file and record, for messages
 * @throws {FormatError} with the byte of the opcode at fault; its text says that nothing was executed
 */
export function parsePickle(bytes: Uint8Array, where: string): PickleValue {
	return parsePickleAt(bytes, where, {}).value;
}

/** A parsed pickle. */
export interface ParsedPickle {
	value: PickleValue;
	/** all that it names, by key; each is described in one way only */
	storages: ReadonlyMap<string, TorchStorage>;
	/** offset of the byte behind the pickle */
	end: number;
}

/**
 * Parse a pickle that may stand among other bytes.
 *
 * @throws {PickleEndsEarly} where `bytes` end before the pickle
 * @throws {FormatError} as {@link parsePickle}
 */
export function parsePickleAt(
	bytes: Uint8Array,
	where: string,
	options: PickleOptions,
): ParsedPickle {
	const machine = new PickleMachine(bytes, where, options);
	const value = machine.run();
	return { value, storages: machine.storages, end: machine.at };
}

/** A machine with a stack and a memo, as pickles want it, that can build but not do. */
class PickleMachine extends PickleBytes {
	private readonly whole: boolean;
	readonly persistentIdItems: 5 | 6;
	readonly stack: PickleValue[] = [];
	/** stack heights at which a MARK stands */
	readonly marks: number[] = [];
	readonly memo = new Map<number, PickleValue>();
	readonly storages = new Map<string, TorchStorage>();

	constructor(bytes: Uint8Array, where: string, options: PickleOptions) {
		super(bytes, where, options.byteOffset ?? 0);
		this.whole = options.whole ?? true;
		this.persistentIdItems = options.persistentIdItems ?? 5;
	}

	run(): PickleValue {
		const start = this.at;
		this.readProtocol();
		for (let count = 1; ; count++) {
			if (count > MAX_OPCODES) this.fail(`more than ${MAX_OPCODES} opcodes`);
			if (this.at - start > MAX_PICKLE_BYTES)
				this.fail(`longer than ${MAX_PICKLE_BYTES} bytes`);
			this.opcodeAt = this.at;
			const opcode = this.unsigned(1);
			if (opcode === STOP) break;
			const perform = OPCODES.get(opcode);
			if (!perform) this.refuse(opcode);
			perform(this);
		}
		const value = this.pop();
		if (this.stack.length > 0 || this.marks.length > 0)
			this.fail("STOP with something left on the stack");
		if (this.whole && this.at < this.bytes.length) {
			this.opcodeAt = this.at;
			this.fail(`${this.bytes.length - this.at} bytes after STOP`);
		}
		return value;
	}

	private readProtocol(): void {
		this.opcodeAt = this.at;
		if (this.unsigned(1) !== PROTO) this.fail("no pickle of protocol 2");
		const protocol = this.unsigned(1);
		if (protocol !== PROTOCOL)
			throw pickleFault(
				this.where,
				this.opcodeAt,
				`a pickle of protocol ${protocol}, not ${PROTOCOL}`,
				"torch.load(weights_only=True) reads no other either: save it again with pickle_protocol=2",
			);
	}

	private refuse(opcode: number): never {
		const python2 = [0x53, 0x54, 0x55].includes(opcode)
			? ", a string of Python 2,"
			: "";
		this.fail(`opcode ${describeOpcode(opcode)}${python2} is not allowed`);
	}

	push(value: PickleValue): void {
		if (this.stack.length >= MAX_STACK)
			this.fail(`more than ${MAX_STACK} values on the stack`);
		this.stack.push(value);
	}

	pushMark(): void {
		if (this.marks.length >= MAX_STACK)
			this.fail(`more than ${MAX_STACK} marks on the stack`);
		this.marks.push(this.stack.length);
	}

	pop(): PickleValue {
		this.top();
		return this.stack.pop() as PickleValue;
	}

	/** The last value, if no mark stands before it. */
	top(): PickleValue {
		if (this.stack.length <= (this.marks.at(-1) ?? 0))
			this.fail("nothing on the stack for it");
		return this.stack.at(-1) as PickleValue;
	}

	/** All values from the last mark on. */
	popToMark(): PickleValue[] {
		const mark = this.marks.pop();
		if (mark === undefined) this.fail("no MARK on the stack for it");
		return this.stack.splice(mark);
	}

	pushTuple(count: number): void {
		const items = Array.from({ length: count }, () => this.pop()).reverse();
		this.push({ kind: "tuple", items });
	}

	remember(index: number): void {
		if (this.memo.size >= MAX_MEMO && !this.memo.has(index))
			this.fail(`more than ${MAX_MEMO} values in the memo`);
		this.memo.set(index, this.top());
	}

	recall(index: number): void {
		const value = this.memo.get(index);
		if (value === undefined) this.fail(`no value ${index} in the memo`);
		this.push(value);
	}

	/** Put keys and values, one after the other, into the dict on top. */
	setItems(items: readonly PickleValue[]): void {
		const dict = this.top();
		if (!isKind(dict, "dict"))
			this.fail(`items are set in ${kindOf(dict)}, not in a dict`);
		if (items.length % 2 !== 0) this.fail("a key without a value");
		for (let i = 0; i < items.length; i += 2) {
			const [key, value] = [items[i], items[i + 1]] as [
				PickleValue,
				PickleValue,
			];
			if (typeof key !== "string" && typeof key !== "number")
				this.fail(`${kindOf(key)} is the key of a dict`);
			if (dict.entries.has(key))
				this.fail(`duplicate key ${JSON.stringify(key)}`);
			dict.entries.set(key, value);
		}
	}

	append(items: readonly PickleValue[]): void {
		const list = this.top();
		if (!isKind(list, "list"))
			this.fail(`items are appended to ${kindOf(list)}, not to a list`);
		for (const item of items) list.items.push(item);
	}

	/** The attributes of an OrderedDict, such as `_metadata`: nothing of the tensors is in them. */
	build(): void {
		const state = this.pop();
		const target = this.top();
		if (!isKind(target, "dict") || !target.ordered || !isKind(state, "dict"))
			this.fail(`BUILD of ${kindOf(target)} with ${kindOf(state)}`);
	}

	reduce(): void {
		const args = this.pop();
		const callable = this.pop();
		if (!isKind(callable, "global") || !isKind(args, "tuple"))
			this.fail(`REDUCE of ${kindOf(callable)} with ${kindOf(args)}`);
		this.push(rebuild(callable, args.items, (what) => this.fail(what)));
	}

	persistentId(): void {
		const id = this.pop();
		const items = isKind(id, "tuple") ? id.items : [];
		if (items.length !== this.persistentIdItems)
			this.fail(
				`a persistent id of ${kindOf(id)} with ${items.length} items, not a tuple of ${this.persistentIdItems}`,
			);
		const storage = parsePersistentId(items, (what) => this.fail(what));
		const known = this.storages.get(storage.key) ?? storage;
		if (!sameStorage(known, storage))
			this.fail(
				`storage ${storage.key} is ${describeStorage(storage)} here, but ${describeStorage(known)} before`,
			);
		this.storages.set(storage.key, known);
		this.push(known);
	}

	global(): void {
		const [module, name] = [this.line(), this.line()];
		const known = allowedGlobal(module, name);
		if (!known)
			this.fail(
				`the pickle asks for the global ${module}.${name}, which is none that dense tensors need`,
			);
		this.push(known);
	}
}

const STOP = 0x2e;
const newDict = (): PickleDict => ({
	...{ kind: "dict", ordered: false, entries: new Map() },
});
const emptyTuple = (): PickleTuple => ({ kind: "tuple", items: [] });

/** The opcodes that state dicts and the checkpoints of trainers need. Whatever is not here is refused. */
const OPCODES: ReadonlyMap<number, (machine: PickleMachine) => void> = new Map([
	[0x28, (m) => m.pushMark()], // MARK
	[0x29, (m) => m.push(emptyTuple())], // EMPTY_TUPLE
	[0x47, (m) => m.push({ kind: "float", value: m.double() })], // BINFLOAT
	[0x4a, (m) => m.push(m.signed())], // BININT
	[0x4b, (m) => m.push(m.unsigned(1))], // BININT1
	[0x4d, (m) => m.push(m.unsigned(2))], // BININT2
	[0x4e, (m) => m.push(null)], // NONE
	[0x51, (m) => m.persistentId()], // BINPERSID
	[0x52, (m) => m.reduce()], // REDUCE
	[0x58, (m) => m.push(m.text())], // BINUNICODE
	[0x5d, (m) => m.push({ kind: "list", items: [] })], // EMPTY_LIST
	[0x61, (m) => m.append([m.pop()])], // APPEND
	[0x62, (m) => m.build()], // BUILD
	[0x63, (m) => m.global()], // GLOBAL
	[0x65, (m) => m.append(m.popToMark())], // APPENDS
	[0x68, (m) => m.recall(m.unsigned(1))], // BINGET
	[0x6a, (m) => m.recall(m.unsigned(4))], // LONG_BINGET
	[0x71, (m) => m.remember(m.unsigned(1))], // BINPUT
	[0x72, (m) => m.remember(m.unsigned(4))], // LONG_BINPUT
	[0x73, (m) => m.setItems([m.pop(), m.pop()].reverse())], // SETITEM
	[0x74, (m) => m.push({ kind: "tuple", items: m.popToMark() })], // TUPLE
	[0x75, (m) => m.setItems(m.popToMark())], // SETITEMS
	[0x7d, (m) => m.push(newDict())], // EMPTY_DICT
	[0x85, (m) => m.pushTuple(1)], // TUPLE1
	[0x86, (m) => m.pushTuple(2)], // TUPLE2
	[0x87, (m) => m.pushTuple(3)], // TUPLE3
	[0x88, (m) => m.push(true)], // NEWTRUE
	[0x89, (m) => m.push(false)], // NEWFALSE
	[0x8a, (m) => m.push(m.long())], // LONG1
] as [number, (machine: PickleMachine) => void][]);
