import { printable } from "../index.ts";

/** Something to show beside a file or a run, as GitHub does. */
export interface Annotation {
	level: "error" | "warning";
	/** where it is, relative to the working folder */
	file?: string;
	title: string;
	/** what is wrong, and further lines */
	lines: readonly string[];
}

/** A line that GitHub's runner takes for an annotation (its "workflow commands"). */
export function formatAnnotation({
	level,
	file,
	title,
	lines,
}: Annotation): string {
	const properties = [
		...(file === undefined ? [] : [`file=${escapeProperty(file)}`]),
		`title=${escapeProperty(title)}`,
	];
	return `::${level} ${properties.join(",")}::${lines.map(escapeData).join("%0A")}`;
}

function escapeData(text: string): string {
	return printable(text).replaceAll("%", "%25");
}

function escapeProperty(text: string): string {
	return escapeData(text).replaceAll(":", "%3A").replaceAll(",", "%2C");
}

/** The runner takes every line that begins with `::`, or holds `##[`, for a command: no name may make one. */
export function withoutCommands(text: string): string {
	return text
		.replace(/^([^\S\n]*):(?=:)/gm, "$1\\u{3a}")
		.replaceAll("##[", "##\\u{5b}");
}
