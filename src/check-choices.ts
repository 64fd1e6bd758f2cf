import type { Side } from "./delta/convention.ts";
import type { ShardLayout } from "./delta/shard-layout.ts";
import { UsageError } from "./errors.ts";
import { FLOAT_DTYPES, type FloatDtype } from "./tensor/dtype.ts";

/** @throws {UsageError} where shards are both to be mirrored and to be of a size, or of none */
export function chooseLayout({
	shards,
	maxShardBytes,
}: {
	shards?: Side | undefined;
	maxShardBytes?: number | undefined;
}): ShardLayout {
	if (maxShardBytes === undefined)
		return shards === undefined ? null : { kind: "mirror", side: shards };
	const where = "--max-shard-size";
	if (shards !== undefined)
		throw new UsageError({
			where,
			what: "shards cannot be those of an input too",
			remedy: "Leave out --shards, or this",
		});
	if (!(maxShardBytes >= 1))
		throw new UsageError({
			...{ where, what: "no size for a shard", found: `${maxShardBytes}` },
			expected: "a number with B, kB, MB, GB, KiB, MiB or GiB",
		});
	return { kind: "limit", maxBytes: maxShardBytes };
}

/** @throws {UsageError} unless the name is one of the choices */
export function checkConvention(
	convention: string,
	choices: readonly string[],
): void {
	if (!choices.includes(convention))
		throw new UsageError({
			where: "--convention",
			what: `unknown convention ${JSON.stringify(convention)}`,
			expected: choices.join(", "),
		});
}

/** @throws {UsageError} unless it is a type that can be written, or none */
export function checkDtype(dtype: FloatDtype | undefined): void {
	if (dtype !== undefined && !FLOAT_DTYPES.includes(dtype))
		throw new UsageError({
			where: "--dtype",
			what: `cannot write ${JSON.stringify(dtype)}`,
			expected: FLOAT_DTYPES.join(", "),
		});
}
