import { UsageError } from "../errors.ts";
import { DIRECT_ALIGNMENT, DIRECT_IO, type DirectIo } from "../io/direct-io.ts";
import { KERNEL_NAMES, type KernelName } from "../kernel/kernel.ts";
import { chooseKernel } from "../kernel/select.ts";

/** How a run may use the machine; nothing of it changes a byte of the result. */
export interface EngineChoices {
	/** default `auto`: the fastest that runs here */
	kernel?: KernelName | "auto" | undefined;
	/** for arithmetic and hashing; default: as many as there are cores, and none for a small model */
	threads?: number | undefined;
	/** bytes that all buffers together may take; default 256 MB, of which no more is used than helps */
	memory?: number | undefined;
	/** whether files bypass the page cache; default `auto`: where that is faster, by evidence */
	directIo?: DirectIo | undefined;
	/** bytes of an output file that a crash may cost: after so many they are made durable; default 256 MiB */
	syncBytes?: number | undefined;
	signal?: AbortSignal | undefined;
}

/** The same, decided. */
export interface EngineOptions {
	kernel: KernelName;
	threads: number | null;
	memory: number;
	directIo: DirectIo;
	syncBytes: number;
	signal: AbortSignal | undefined;
}

export const MAX_THREADS = 64;
const DEFAULT_MEMORY_BYTES = 256e6;
const LEAST_MEMORY_BYTES = 8e6;
const DEFAULT_SYNC_BYTES = 2 ** 28;
/** Two slices of the shortest kind. */
const LEAST_SYNC_BYTES = 2 * DIRECT_ALIGNMENT;

/** @throws {UsageError} where a choice makes no sense, or the kernel that was asked for does not run here */
export function decideEngineOptions(choices: EngineChoices): EngineOptions {
	const { kernel = "auto", threads, directIo = "auto" } = choices;
	const memory = choices.memory ?? DEFAULT_MEMORY_BYTES;
	const syncBytes = choices.syncBytes ?? DEFAULT_SYNC_BYTES;
	check("--kernel", ["auto", ...KERNEL_NAMES].includes(kernel), kernel, [
		"auto",
		...KERNEL_NAMES,
	]);
	check("--direct-io", DIRECT_IO.includes(directIo), directIo, DIRECT_IO);
	check(
		"--threads",
		threads === undefined || isWhole(threads, 1, MAX_THREADS),
		threads,
		[`a whole number from 1 to ${MAX_THREADS}`],
	);
	check(
		"--memory",
		isWhole(memory, LEAST_MEMORY_BYTES, Number.MAX_SAFE_INTEGER),
		memory,
		[`at least ${LEAST_MEMORY_BYTES / 1e6} MB`],
	);
	check(
		"--sync-bytes",
		isWhole(syncBytes, LEAST_SYNC_BYTES, Number.MAX_SAFE_INTEGER),
		syncBytes,
		[`at least ${LEAST_SYNC_BYTES}`],
	);
	return {
		...{ memory, directIo, syncBytes, signal: choices.signal },
		kernel: chooseKernel(kernel),
		threads: threads ?? null,
	};
}

function check(
	where: string,
	holds: boolean,
	found: unknown,
	expected: readonly string[],
): void {
	if (!holds)
		throw new UsageError({
			where,
			what: "no such choice",
			expected: expected.join(", "),
			found: String(found),
		});
}

function isWhole(value: number, least: number, most: number): boolean {
	return Number.isSafeInteger(value) && value >= least && value <= most;
}
