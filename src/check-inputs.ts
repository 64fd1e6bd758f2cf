import type { Checkpoint } from "./checkpoint/checkpoint.ts";
import { readSideJson } from "./checkpoint/side-files.ts";
import { type Doubt, settleDoubts } from "./delta/doubt.ts";
import { judgeConfigs, type ModelConfig } from "./delta/judge-configs.ts";
import { judgeKnownFiles, judgeOrigin } from "./delta/judge-known.ts";
import { judgeLayouts } from "./delta/judge-layout.ts";
import type { KnownFile } from "./delta/known-release.ts";
import { isPlainlyDelta, judgeLikelihood } from "./delta/likelihood.ts";
import { contentsOf, recogniseShards } from "./recognise.ts";
import { sampleCheckpoints } from "./sample.ts";

export interface CheckOptions {
	/** warn of what would be refused */
	allowUnlikely: boolean;
	/** known files to look among; default: all */
	rows?: readonly KnownFile[];
	signal?: AbortSignal;
}

/**
 * Before any work, ask whether base and delta are what they were given as: by their paths, headers, known
 * checksums and configs, and by a few thousand of their elements.
 *
 * @returns warnings
 * @throws {MismatchError} where the merge would be worthless, saying what to do instead
 */
export async function checkInputs(
	base: Checkpoint,
	delta: Checkpoint,
	{ allowUnlikely, ...options }: CheckOptions,
): Promise<string[]> {
	const settle = (doubts: readonly Doubt[]) =>
		settleDoubts(doubts, { allowUnlikely });
	// In the order of their cost: each may spare the next.
	const twice = await judgePaths(base, delta);
	if (twice.length > 0) return settle(twice);
	const warnings = settle(judgeLayouts(base, delta));
	const configs = {
		base: await readConfig(base),
		delta: await readConfig(delta),
	};
	warnings.push(
		...settle(
			judgeConfigs(
				{ ...base, config: configs.base },
				{ ...delta, config: configs.delta },
			),
		),
	);
	const samples = await sampleCheckpoints(base, delta);
	// A delta that somebody made keeps the config of its target, and so the target's name.
	const origin = isPlainlyDelta(samples)
		? []
		: judgeOrigin(delta.location, configs.delta);
	warnings.push(...settle(origin));
	const known = judgeKnownFiles(
		await recogniseShards(base, options),
		await recogniseShards(delta, options),
	);
	const where = { base: base.location, delta: delta.location };
	return [
		...warnings,
		...settle([...known, ...judgeLikelihood(samples, where)]),
	];
}

/** Base and delta that are the same files, by whatever path. */
async function judgePaths(
	base: Checkpoint,
	delta: Checkpoint,
): Promise<Doubt[]> {
	const [files, others] = [await contentsOf(base), await contentsOf(delta)];
	return files.length > 0 && files.every((file) => others.includes(file))
		? [
				{
					refuses: true,
					where: delta.location,
					what: "base and delta are the same, which would double the model",
					remedy: "Give the base as --base and its delta as --delta",
				},
			]
		: [];
}

async function readConfig(checkpoint: Checkpoint): Promise<ModelConfig> {
	const name = "config.json";
	const open = () => checkpoint.openSideFile(name);
	return readSideJson(name, checkpoint.sideFiles, open);
}
