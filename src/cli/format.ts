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
