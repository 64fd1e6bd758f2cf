import { UsageError } from "../index.ts";

/** `2.2 GB`: decimal, as disks and the Hub count. */
export function formatBytes(bytes: number): string {
	const units = ["B", "kB", "MB", "GB", "TB"];
	let value = bytes;
	let unit = 0;
	while (value >= 999.5 && unit < units.length - 1) {
		value /= 1000;
		unit++;
	}
	const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
	return `${value.toFixed(digits)} ${units[unit]}`;
}

/** `under a second`, `40 s`, `27 min`, `3.5 h` */
export function formatDuration(seconds: number): string {
	if (seconds < 1) return "under a second";
	if (seconds < 99.5) return `${Math.round(seconds)} s`;
	const minutes = seconds / 60;
	return minutes < 99.5
		? `${Math.round(minutes)} min`
		: `${(minutes / 60).toFixed(1)} h`;
}

const UNIT_BYTES: Record<string, number> = {
	...{ "": 1, B: 1, KB: 1e3, MB: 1e6, GB: 1e9 },
	...{ KIB: 2 ** 10, MIB: 2 ** 20, GIB: 2 ** 30 },
};

/**
 * `48MB`, `1.5 GiB`, `1000`: whole bytes.
 *
 * @throws {UsageError}
 */
export function parseBytes(where: string, text: string): number {
	const [, number, unit = ""] = /^([\d.]+)\s*([a-z]*)$/i.exec(text) ?? [];
	const bytes = Math.floor(
		Number(number) * (UNIT_BYTES[unit.toUpperCase()] ?? Number.NaN),
	);
	if (!Number.isSafeInteger(bytes))
		throw new UsageError({
			...{ where, what: "no amount of bytes", found: JSON.stringify(text) },
			expected: "a number with B, kB, MB, GB, KiB, MiB or GiB",
		});
	return bytes;
}

/** `1 shard`, `3 shards` */
export function plural(count: number, noun: string): string {
	return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** Rows in columns of equal width; columns named in `right` are flushed right. */
export function formatTable(
	rows: readonly (readonly string[])[],
	right: ReadonlySet<number> = new Set(),
): string[] {
	const widths: number[] = [];
	for (const row of rows)
		row.forEach((cell, i) => {
			widths[i] = Math.max(widths[i] ?? 0, cell.length);
		});
	return rows.map((row) =>
		row
			.map((cell, i) =>
				right.has(i)
					? cell.padStart(widths[i] ?? 0)
					: cell.padEnd(widths[i] ?? 0),
			)
			.join("  ")
			.trimEnd(),
	);
}
