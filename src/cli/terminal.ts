import type { Writable } from "node:stream";
import { styleText } from "node:util";
import { MergeDeltaError, printable } from "../index.ts";
import {
	type Annotation,
	formatAnnotation,
	withoutCommands,
} from "./annotation.ts";
import { exitCodeOf } from "./exit-code.ts";

export interface TerminalOptions {
	json: boolean;
	quiet: boolean;
	verbose: boolean;
	color: boolean;
	/** tell failures and warnings as GitHub's runner wants them */
	annotations: boolean;
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
		annotations: wantsAnnotations(args),
		color: stderr.isTTY === true && !process.env.NO_COLOR && !has("--no-color"),
	};
}

/** As the flag says or, without it, as GitHub's runner tells that it is there. */
function wantsAnnotations(args: readonly string[]): boolean {
	const at = args.findIndex((arg) => /^--annotations(=|$)/.test(arg));
	const value = args[at]?.split("=")[1] ?? args[at + 1];
	return at < 0 || value === "auto"
		? process.env.GITHUB_ACTIONS === "true"
		: value === "github";
}

type Style = "red" | "yellow" | "green" | "bold" | "dim";

/**
 * Where a command speaks: results to stdout, everything else to stderr. With `json`, stdout gets exactly
 * one document. Text from files is made printable here, so that no name can steer the terminal, and no line
 * is a command to the runner it may run in but the annotations.
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
		if (!this.options.json) this.write("stdout", line);
	}

	/** The result for programs; nothing without `json`. */
	document(value: object): void {
		if (this.options.json)
			this.streams.stdout.write(
				`${escapeInJson(JSON.stringify({ schemaVersion: 1, ...value }, null, 2))}\n`,
			);
	}

	/** A line about the work; nothing with `quiet`. */
	note(line: string): void {
		if (!this.options.quiet) this.write("stderr", line);
	}

	warn(text: string): void {
		const { annotations, quiet } = this.options;
		if (!annotations)
			this.note(`${this.paint("yellow", "warning")} ${printable(text)}`);
		else if (!quiet)
			this.annotate({ level: "warning", title: TITLE, lines: [text] });
	}

	/** Tell GitHub's runner, which reads both streams; nothing elsewhere. */
	annotate(annotation: Annotation): void {
		if (this.options.annotations)
			this.streams.stderr.write(`${formatAnnotation(annotation)}\n`);
	}

	/** Tell a failure. @returns the exit code */
	fail(error: unknown): number {
		const code = exitCodeOf(error);
		if (error instanceof MergeDeltaError) {
			this.complain(error.message, error.fault.details);
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

	private complain(message: string, details: readonly string[] = []): void {
		if (this.options.annotations) {
			const lines = [message, ...details];
			this.annotate({ level: "error", title: TITLE, lines });
			return;
		}
		this.write("stderr", `${this.paint("red", "error")} ${message}`);
		for (const detail of details)
			this.write("stderr", `  ${printable(detail)}`);
	}

	private trace(error: unknown): void {
		const stack = error instanceof Error ? error.stack : String(error);
		for (const line of (stack ?? "").split("\n"))
			this.write("stderr", `  ${printable(line)}`);
	}

	private write(stream: keyof Streams, text: string): void {
		this.streams[stream].write(`${withoutCommands(text)}\n`);
	}
}

/** Over every annotation that is not about a file. */
const TITLE = "merge-delta";

/**
 * JSON escapes few control characters; marks that reorder text or end lines, and what a runner takes for a
 * command, must not reach a log either.
 */
function escapeInJson(json: string): string {
	return json.replace(
		/[^\P{Cc}\n]|[\p{Cf}\p{Zl}\p{Zp}]|(?<=##)\[/gu,
		(character) =>
			Array.from({ length: character.length }, (_, i) => {
				const unit = character.charCodeAt(i).toString(16);
				return `\\u${unit.padStart(4, "0")}`;
			}).join(""),
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
