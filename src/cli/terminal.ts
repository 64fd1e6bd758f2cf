import type { Writable } from "node:stream";
import { styleText } from "node:util";
import { MergeDeltaError, printable } from "../index.ts";
import { exitCodeOf } from "./exit-code.ts";

export interface TerminalOptions {
	json: boolean;
	quiet: boolean;
	verbose: boolean;
	color: boolean;
}

export interface Streams {
	stdout: Writable & { isTTY?: boolean; columns?: number };
	stderr: Writable & { isTTY?: boolean; columns?: number };
}

/** How to speak, by the flags and before they are parsed: failures to parse them too must be told as asked. */
export function terminalOptions(
	args: readonly string[],
	{ stderr }: Streams,
): TerminalOptions {
	const has = (flag: string) => args.includes(flag);
	return {
		json: has("--json"),
		quiet: has("--quiet") || has("-q"),
		verbose: has("--verbose"),
		color: stderr.isTTY === true && !process.env.NO_COLOR && !has("--no-color"),
	};
}

type Style = "red" | "yellow" | "green" | "bold" | "dim";

/**
 * Where a command speaks: results to stdout, everything else to stderr. With `json`, stdout gets exactly
 * one document. Text from files is made printable here, so that no name can steer the terminal.
 */
export class Terminal {
	readonly options: TerminalOptions;
	readonly streams: Streams;

	constructor(options: TerminalOptions, streams: Streams) {
		this.options = options;
		this.streams = streams;
	}

	/** A line of the result for people; nothing with `json`. */
	result(line: string): void {
		if (!this.options.json) this.streams.stdout.write(`${line}\n`);
	}

	/** The result for programs; nothing without `json`. */
	document(value: object): void {
		if (this.options.json)
			this.streams.stdout.write(
				`${escapeInvisible(JSON.stringify({ schemaVersion: 1, ...value }, null, 2))}\n`,
			);
	}

	/** A line about the work; nothing with `quiet`. */
	note(line: string): void {
		if (!this.options.quiet) this.streams.stderr.write(`${line}\n`);
	}

	warn(text: string): void {
		this.note(`${this.paint("yellow", "warning")} ${printable(text)}`);
	}

	/** Tell a failure. @returns the exit code */
	fail(error: unknown): number {
		const code = exitCodeOf(error);
		if (error instanceof MergeDeltaError) {
			this.complain(error.message);
			for (const detail of error.fault.details ?? [])
				this.streams.stderr.write(`  ${printable(detail)}\n`);
			if (this.options.verbose) this.trace(error);
		} else {
			this.complain("a bug in merge-delta, please report it with this trace");
			this.trace(error);
		}
		this.document({ ok: false, error: describeError(error, code) });
		return code;
	}

	paint(style: Style, text: string): string {
		return this.options.color
			? styleText(style, text, { validateStream: false })
			: text;
	}

	private complain(message: string): void {
		this.streams.stderr.write(`${this.paint("red", "error")} ${message}\n`);
	}

	private trace(error: unknown): void {
		const stack = error instanceof Error ? error.stack : String(error);
		for (const line of (stack ?? "").split("\n"))
			this.streams.stderr.write(`  ${printable(line)}\n`);
	}
}

/** JSON escapes control characters only; marks that reorder text or end lines must not reach a log either. */
function escapeInvisible(json: string): string {
	return json.replace(
		/[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
		(unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
	);
}

function describeError(error: unknown, exitCode: number): object {
	if (!(error instanceof MergeDeltaError))
		return { code: "ERR_INTERNAL", exitCode, message: String(error) };
	const { where, what, expected, found, remedy, details } = error.fault;
	return {
		code: error.code,
		exitCode,
		message: error.message,
		where,
		what,
		expected,
		found,
		remedy,
		details,
	};
}
