import { alignUp } from "./slice.ts";

const PAGE_BYTES = 2 ** 16;

/** Room for one slice and its operands. */
export interface Slot {
	/** in the shared memory */
	byteOffset: number;
	/** the `byteLength` bytes from `slotOffset` on */
	view(slotOffset: number, byteLength: number): Uint8Array;
}

/**
 * All the memory a run uses, in slots that are handed out and given back. It is that of a WebAssembly
 * memory: shared by all threads, never moved, and aligned to pages as direct I/O wants it.
 */
export class Slots {
	readonly memory: WebAssembly.Memory;
	readonly slotBytes: number;
	readonly count: number;
	private readonly free: Slot[];
	private readonly waiting: ((slot: Slot) => void)[] = [];

	/** @param slotBytes  room in each; rounded up to 64 KiB */
	constructor(count: number, slotBytes: number) {
		this.count = count;
		this.slotBytes = alignUp(slotBytes, PAGE_BYTES);
		const pages = (count * this.slotBytes) / PAGE_BYTES;
		this.memory = new WebAssembly.Memory({
			...{ initial: pages, maximum: pages, shared: true },
		});
		const { buffer } = this.memory;
		this.free = Array.from({ length: count }, (_, i) => {
			const byteOffset = i * this.slotBytes;
			return {
				byteOffset,
				view: (slotOffset, byteLength) =>
					new Uint8Array(buffer, byteOffset + slotOffset, byteLength),
			};
		});
	}

	/** A free slot, as soon as there is one; served in the order of asking. */
	async take(): Promise<Slot> {
		return (
			this.free.pop() ?? new Promise((resolve) => this.waiting.push(resolve))
		);
	}

	give(slot: Slot): void {
		const next = this.waiting.shift();
		if (next) next(slot);
		else this.free.push(slot);
	}
}
