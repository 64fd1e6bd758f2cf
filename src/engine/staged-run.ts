import path from "node:path";
import { type MergePlan, planId } from "../delta/plan.ts";
import {
	FormatError,
	MergeDeltaError,
	MismatchError,
	PlannedBySpoilt,
	SourceChangedError,
	SpoiltOnItsWay,
	VerificationError,
} from "../errors.ts";
import { listIfThere, removeTree, syncFolder } from "../io/folders.ts";
import { lookAtOutput, outputExists } from "../io/output-place.ts";
import { Staging } from "../io/staging.ts";
import { failing } from "../io/system-error.ts";
import type { Place } from "../io/take-over.ts";
import type { Engine } from "./engine.ts";
import type { Ground } from "./ground.ts";
import { type Claim, parseJournal } from "./journal.ts";
import { JournalFile } from "./journal-file.ts";
import type { Manifest } from "./manifest.ts";
import { findPublished } from "./published.ts";
import { checkClaims, coveredBytes, NOTHING_REUSED } from "./resume.ts";
import { encodeStagedPlan, refuseOtherPlan } from "./staged-plan.ts";
import { type OpenInputs, outputNames } from "./write-output.ts";

/** What of an earlier run was not made again. */
export interface Resumed {
	/** whole ones */
	shards: number;
	/** of all shards, those included */
	byteLength: number;
}

/** How a run treats what is there. */
export interface StagedOptions {
	/** replace a folder that stands where the output is to appear, in the moment it appears; default false */
	overwrite?: boolean | undefined;
	/** go on where an earlier run of the same plan has stopped; default true, otherwise its work is deleted */
	resume?: boolean | undefined;
	/** keep what was written after a failure that running again would not mend; default false */
	keepStaging?: boolean | undefined;
	/** called with what is told of the output before it is published; where it throws, nothing is */
	checkManifest?: ((manifest: Manifest) => void) | undefined;
	/** called before what an earlier run has left is read and compared */
	onResume?:
		| ((found: { byteLength: number; totalBytes: number }) => void)
		| undefined;
}

export interface StagedResult {
	manifest: Manifest;
	/** null where nothing was there */
	resumed: Resumed | null;
	warnings: string[];
}

/**
 * Make an output in its staging folder and publish it: whatever happens at any instant, the next run of the same plan
 * ends with the same bytes, and until then what stood at the output stands there, or beside it under another name.
 *
 * @param write  writes all files of the output
 */
export async function runStaged(
	plan: MergePlan,
	opened: OpenInputs,
	place: Place,
	engine: Engine,
	options: StagedOptions,
	write: (ground: Ground) => Promise<Manifest>,
): Promise<StagedResult> {
	const staging = await Staging.open(place);
	const run = new StagedRun(plan, opened, staging, place, engine, options);
	try {
		return await run.run(write);
	} catch (error) {
		throw await run.leave(error);
	} finally {
		await run.close();
	}
}

class StagedRun {
	private readonly plan: MergePlan;
	private readonly opened: OpenInputs;
	private readonly staging: Staging;
	private readonly place: Place;
	private readonly engine: Engine;
	private readonly options: StagedOptions;
	/** where a folder goes that is replaced */
	private readonly old: string;
	private readonly totalBytes: number;
	private journal: JournalFile | null = null;
	/** claimed by an earlier run, and not looked at yet */
	private foundBytes = 0;
	private isPublished = false;

	constructor(
		plan: MergePlan,
		opened: OpenInputs,
		staging: Staging,
		place: Place,
		engine: Engine,
		options: StagedOptions,
	) {
		this.plan = plan;
		this.opened = opened;
		this.staging = staging;
		this.place = place;
		this.engine = engine;
		this.options = options;
		this.old = `${path.resolve(place.out)}.old-${planId(plan).slice(0, 16)}`;
		this.totalBytes = outputBytes(plan);
	}

	async run(
		write: (ground: Ground) => Promise<Manifest>,
	): Promise<StagedResult> {
		const { staging, plan, engine, place } = this;
		const { out, files } = place;
		await this.restoreOld();
		if (!staging.isNew && !staging.hasMerged) {
			const manifest = await findPublished(plan, files, out, engine);
			if (manifest !== null) {
				this.options.checkManifest?.(manifest);
				return this.finish(manifest, this.allOfIt());
			}
		}
		const isThere = (await lookAtOutput(files, out)) === "full";
		if (isThere && !this.options.overwrite) throw outputExists(out);
		const ground = await this.prepare();
		const { whole, byteLength } = ground.reused;
		const manifest = await write(ground);
		this.options.checkManifest?.(manifest);
		const old = this.options.overwrite ? this.old : null;
		await staging.publish(outputNames(plan), old);
		const resumed = { shards: whole.size, byteLength };
		return this.finish(manifest, byteLength > 0 ? resumed : null);
	}

	/** Say what a failure leaves, and leave it. @returns what to throw */
	async leave(error: unknown): Promise<unknown> {
		const { staging, totalBytes } = this;
		const { root } = staging;
		if (!this.isPublished) await this.journal?.flush().catch(() => {}); // or less is safe
		const safeBytes = this.journal?.safeBytes ?? this.foundBytes;
		const keeps = isMendable(error) ? safeBytes > 0 : this.options.keepStaging;
		const isUntouched = this.journal === null && !staging.isNew;
		if (!keeps && !isUntouched && !this.isPublished) {
			await staging.discard().catch(() => {}); // what it failed from is told
			return error;
		}
		await staging.release().catch(() => {});
		if (!(error instanceof MergeDeltaError) || isUntouched) return error;
		return error.withDetail(
			this.isPublished
				? "the output is there, but may not outlive a loss of power: run the same command again, which checks it"
				: `${safeBytes} of ${totalBytes} bytes are safe in ${root}: the same command goes on from there`,
		);
	}

	async close(): Promise<void> {
		await this.journal?.close();
	}

	/** Put back what a run had moved away that ended before it could put something in its place. */
	private async restoreOld(): Promise<void> {
		const { out, files } = this.place;
		if ((await listIfThere(files, this.old)) === null) return;
		if ((await lookAtOutput(files, out)) !== "nothing") return;
		await files
			.rename(this.old, path.resolve(out))
			.catch(failing(this.old, "putting back"));
	}

	/** Begin, or find what an earlier run has left. */
	private async prepare(): Promise<Ground> {
		const { staging, plan, engine, opened } = this;
		const { sources, withOrigin } = opened;
		let planText = encodeStagedPlan(plan, sources, withOrigin);
		const found = await this.findClaims(planText);
		let reused = NOTHING_REUSED;
		if (found === null) {
			await staging.begin();
			const text = Buffer.from(planText);
			const note = await staging.notes.write("plan.json", text);
			await note.close();
		} else {
			const { claims } = found;
			planText = found.planText;
			this.foundBytes = coveredBytes(claims);
			const { totalBytes, foundBytes: byteLength } = this;
			this.options.onResume?.({ byteLength, totalBytes });
			const staged = await staging.list(outputNames(plan));
			reused = await checkClaims(
				...([plan.shards, staged, claims, staging, engine] as const),
			);
		}
		const { claims: held } = reused;
		this.journal = await JournalFile.create(
			...([staging, planText, held, engine.options.syncBytes] as const),
		).catch(async (error) => {
			for (const { file } of reused.begun.values()) await file.abandon();
			throw error;
		});
		return { staging, journal: this.journal, reused };
	}

	/** @returns with the text that they hang on; null where there is nothing to go on with */
	private async findClaims(
		ours: string,
	): Promise<{ claims: Claim[]; planText: string } | null> {
		const { staging } = this;
		if (!staging.hasMerged || this.options.resume === false) return null;
		const note = await staging.notes.read("plan.json");
		if (note === null) return null;
		const journal = (await staging.notes.read("journal")) ?? new Uint8Array();
		const planText = Buffer.from(note).toString("utf8");
		const { claims } = parseJournal(journal, planText);
		if (coveredBytes(claims) === 0) return null;
		refuseOtherPlan(staging.root, planText, ours);
		return { claims, planText };
	}

	/** After the output has appeared: be rid of all else. */
	private async finish(
		manifest: Manifest,
		resumed: Resumed | null,
	): Promise<StagedResult> {
		const { staging, old } = this;
		const { files } = this.place;
		const warnings: string[] = [];
		this.isPublished = true;
		await staging.syncNames();
		try {
			if ((await listIfThere(files, old)) !== null) {
				await removeTree(files, old);
				await syncFolder(files, path.dirname(old));
			}
			await this.journal?.close();
			await staging.discard();
		} catch (error) {
			await staging.release().catch(() => {});
			const { message } = error as Error;
			warnings.push(
				`what is left beside the output could not be deleted: ${message}`,
			);
		}
		if (!staging.syncsFolders)
			warnings.push(
				"this file system cannot make the names of files durable: a loss of power in the next seconds may still cost the output",
			);
		return { manifest, resumed, warnings };
	}

	private allOfIt(): Resumed {
		return { shards: this.plan.shards.length, byteLength: this.totalBytes };
	}
}

/** Whether running again may help: neither the inputs nor the options are at fault. */
function isMendable(error: unknown): boolean {
	if (error instanceof SpoiltOnItsWay)
		return !(error instanceof PlannedBySpoilt);
	return ![
		VerificationError,
		MismatchError,
		FormatError,
		SourceChangedError,
	].some((each) => error instanceof each);
}

/** Of all shards. */
export function outputBytes({ shards }: MergePlan): number {
	return shards.reduce((sum, { byteLength }) => sum + byteLength, 0);
}
