/** What a person needs to act on a failure. Every field is optional but `where` and `what`. */
export interface Fault {
	/** file, tensor or flag at fault; for bytes: `file, byte 123` */
	where: string;
	what: string;
	expected?: string;
	found?: string;
	/** a sentence that says what to do */
	remedy?: string;
	/** more lines to show below the message, such as the names a count stands for */
	details?: readonly string[];
	cause?: unknown;
}

/**
 * Make text from a file safe to print: control, format and bidirectional characters become escapes,
 * so that a tensor name can neither move the cursor nor start a line of a log.
 */
export function printable(text: string): string {
	return text.replace(
		/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
		(character) =>
			({ "\n": "\\n", "\r": "\\r", "\t": "\\t" })[character] ??
			`\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
	);
}

/**
 * Base of every failure this library reports on purpose; one subclass per reaction of the caller.
 * The message is one line, safe to print: `<where>: <what>, expected <x>, found <y>. <remedy>`.
 */
export abstract class MergeDeltaError extends Error {
	abstract readonly code: `ERR_${string}`;
	readonly fault: Fault;

	constructor(fault: Fault) {
		const expected = fault.expected ? `, expected ${fault.expected}` : "";
		const found = fault.found ? `, found ${fault.found}` : "";
		const remedy = fault.remedy ? `. ${fault.remedy}` : "";
		super(
			printable(`${fault.where}: ${fault.what}${expected}${found}${remedy}`),
			fault.cause === undefined ? undefined : { cause: fault.cause },
		);
		this.fault = fault;
		this.name = new.target.name;
	}

	/** The same failure, with one more line to show below the message. */
	withDetail(detail: string): MergeDeltaError {
		const { details = [], ...fault } = this.fault;
		const Same = this.constructor as new (fault: Fault) => MergeDeltaError;
		const same = new Same({ ...fault, details: [...details, detail] });
		if (this.stack !== undefined) same.stack = this.stack;
		return same;
	}
}

/** What was promised does not hold: a checksum differs, or nothing could be verified. */
export class VerificationError extends MergeDeltaError {
	readonly code = "ERR_VERIFICATION";
}

/** What came over the network was not what was published. Another time it may be. */
export class SpoiltOnItsWay extends VerificationError {}

/** And it was planned by: what was made so is of no use to another plan. */
export class PlannedBySpoilt extends SpoiltOnItsWay {}

/** The call makes no sense: change the arguments. */
export class UsageError extends MergeDeltaError {
	readonly code = "ERR_USAGE";
}

/** A file is malformed, unsafe or of an unsupported kind: get another file. */
export class FormatError extends MergeDeltaError {
	readonly code = "ERR_FORMAT";
}

/** Each input is sound, but they do not fit together: choose other inputs or another convention. */
export class MismatchError extends MergeDeltaError {
	readonly code = "ERR_MISMATCH";
}

/** The network or the Hub failed, or refused: run the same command again, which goes on from there. */
export class NetworkError extends MergeDeltaError {
	readonly code = "ERR_NETWORK";
}

/** The machine failed (full disk, I/O error, permissions): mend it and run again. */
export class LocalIoError extends MergeDeltaError {
	readonly code = "ERR_LOCAL_IO";
}

/** A source changed while it was read: run again when nobody writes to it. */
export class SourceChangedError extends MergeDeltaError {
	readonly code = "ERR_SOURCE_CHANGED";
}

/** The output exists or is in use: name another one, or allow to replace it. */
export class OutputConflictError extends MergeDeltaError {
	readonly code = "ERR_OUTPUT_CONFLICT";
}

/** The caller asked to stop. */
export class InterruptedError extends MergeDeltaError {
	readonly code = "ERR_INTERRUPTED";
}

/** @throws {InterruptedError} once the signal is aborted */
export function throwIfAborted(
	signal: AbortSignal | undefined,
	where: string,
): void {
	if (signal?.aborted)
		throw new InterruptedError({
			where,
			what: "interrupted",
			remedy: "Run the same command again",
		});
}
