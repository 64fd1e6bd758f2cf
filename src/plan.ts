import { checkConvention, checkDtype, chooseLayout } from "./check-choices.ts";
import { checkInputs } from "./check-inputs.ts";
import { openModel } from "./checkpoint/open-checkpoint.ts";
import {
	listNames,
	md5OfStart,
	type OpenFiles,
	openFiles,
	readStart,
} from "./checkpoint/open-files.ts";
import {
	BYTE_SCHEME_IDS,
	BYTE_SCHEMES,
	type ByteScheme,
	type ByteSchemeId,
	isByteSchemeId,
} from "./delta/byte-schemes.ts";
import { planAuto } from "./delta/choose-convention.ts";
import {
	becomesWeights,
	perhapsXor,
	schemeOfNames,
	sharedWeights,
	xorFolders,
} from "./delta/choose-scheme.ts";
import type { ConventionChanges, Side } from "./delta/convention.ts";
import { CONVENTION_IDS, type ConventionId } from "./delta/conventions.ts";
import { INPUT, type InputSide, type MergePlan, planId } from "./delta/plan.ts";
import { planBytes, wrongKey } from "./delta/plan-bytes.ts";
import { planMerge } from "./delta/plan-merge.ts";
import { MANIFEST_FILE_NAME } from "./engine/manifest.ts";
import { outputBytes } from "./engine/staged-run.ts";
import type { OpenInputs } from "./engine/write-output.ts";
import { UsageError } from "./errors.ts";
import { type FetchNeeds, WantedFiles } from "./fetch-inputs.ts";
import { CHECKSUM_FILE_NAME } from "./format/checksum-file.ts";
import type { FileSource } from "./io/file-source.ts";
import {
	type FetchChoices,
	type Located,
	locateInputs,
	withOrigin,
} from "./locate.ts";
import type { FloatDtype } from "./tensor/dtype.ts";

/** What to merge, and how. */
export interface PlanInputs extends FetchChoices {
	/**
	 * a folder with weights, one weight file, or a repository of the Hub, `org/name[@revision]`; for a byte
	 * scheme, what it takes as its key
	 */
	base: string;
	/** the same; for a byte scheme, a folder of encoded files, or one */
	delta: string;
	/** default `auto`: the only one that fits, or an error that names those that do */
	convention?: ConventionId | ByteSchemeId | "auto" | undefined;
	/** type of every output tensor; default: what the convention says */
	dtype?: FloatDtype | undefined;
	/** whose shards the output has; default: those of the side the convention loops over */
	shards?: Side | undefined;
	/** most bytes of tensors in a shard of the output, unless it holds but one; instead of `shards` */
	maxShardBytes?: number | undefined;
	/** what is to be different from the convention; without one, from `add` */
	changes?: ConventionWishes | undefined;
	/** what all elements of the result add up to, where its publisher has said; default: what is known */
	expectSum?: number | "any" | undefined;
	/** of these, where they are on the Hub, nothing is stored: they are merged as they come */
	noStore?: readonly Side[] | undefined;
	/** go on, with a warning, where an input is not the one its publisher used */
	allowUnlikely?: boolean | undefined;
}

/** Changes of a convention; what is undefined stays as it is. */
export type ConventionWishes = {
	[K in keyof ConventionChanges]?: ConventionChanges[K] | undefined;
};

export interface PlanReport {
	plan: MergePlan;
	planId: string;
	warnings: string[];
	/** of the Hub */
	fetch: FetchNeeds;
	/** of the output's weights, which are on disk once */
	writeBytes: number;
}

/** A plan with what it reads. */
interface Opened extends Pick<OpenInputs, "sources" | "openSideFile"> {
	plan: MergePlan;
	warnings: readonly string[];
}

/** Base and delta, found. */
type Sides = Record<Side, Located>;

/** Things to close in the end, in the order they were opened. */
type Closing = { close(): Promise<void> }[];

/**
 * Say what a merge would fetch, read, compute and write. Reads little more than headers, on the Hub too, and writes
 * nothing.
 *
 * @throws {UsageError} where an argument makes no sense
 * @throws {FormatError} where an input is malformed
 * @throws {MismatchError} where the inputs do not fit together
 */
export async function plan(inputs: PlanInputs): Promise<PlanReport> {
	return withPlan(inputs, async (report) => report);
}

/** Open both inputs, plan, and let `use` work with them while they are open. */
export async function withPlan<T>(
	inputs: PlanInputs,
	use: (report: PlanReport, opened: OpenInputs) => Promise<T>,
): Promise<T> {
	checkOptions(inputs);
	const [base, delta] = await locateInputs([inputs.base, inputs.delta], inputs);
	const sides = { base, delta } as Sides;
	const closing: Closing = [...Object.values(sides)];
	try {
		const scheme = await chooseScheme(inputs, sides);
		const { plan, warnings, ...opened } =
			scheme === null
				? await openTensors(inputs, sides, closing)
				: await openBytes(inputs, scheme, sides, closing);
		const wanted = new WantedFiles(
			...([Object.values(sides), plan, opened.sources] as const),
			new Set(inputs.noStore?.map((side) => sides[side])),
		);
		return await use(
			{
				...{ plan, planId: planId(plan), warnings: [...warnings] },
				...{ fetch: await wanted.needs(), writeBytes: outputBytes(plan) },
			},
			{
				...opened,
				...originsOf(sides),
				diskNeeds: await wanted.diskNeeds(),
				bring: (signal) => wanted.fetch(inputs.onFetch, signal),
			},
		);
	} finally {
		for (const open of closing.reverse()) await open.close();
	}
}

/** Where the inputs are, and how each of their files is told of. */
export function originsOf<S extends InputSide>(
	sides: Readonly<Record<S, Located>>,
): Pick<OpenInputs, "locations" | "withOrigin"> {
	const located = Object.values<Located>(sides);
	return {
		locations: located.map(({ model, origin }) =>
			origin === null ? model.location : origin.folder,
		),
		withOrigin: (file) => withOrigin(file, sides[file.from as S]),
	};
}

/** The scheme for files of bytes that is asked for or, by `auto`, plain from names; null for a sum of tensors. */
async function chooseScheme(
	{ convention = "auto" }: PlanInputs,
	{ base, delta }: Sides,
): Promise<ByteSchemeId | null> {
	if (convention !== "auto")
		return isByteSchemeId(convention) ? convention : null;
	const theirs = await listNames(delta.model);
	const scheme = schemeOfNames(theirs.fileNames);
	if (scheme !== null) return scheme;
	const [folder] = xorFolders(theirs.fileNames, theirs.folderNames);
	if (folder !== undefined)
		throw perhapsXor(delta.model.location, `no weights but a folder ${folder}`);
	const ours = await listNames(base.model);
	for (const fileName of sharedWeights(ours.fileNames, theirs.fileNames)) {
		const a = await readStart(base.model.folder, fileName);
		const b = await readStart(delta.model.folder, fileName);
		if (becomesWeights(a, b))
			throw perhapsXor(
				delta.model.location,
				`${fileName} begins as no weight file does until it is combined with the base's`,
			);
	}
	return null;
}

async function openTensors(
	inputs: PlanInputs,
	sides: Sides,
	closing: Closing,
): Promise<Opened> {
	const base = await openModel(sides.base.model);
	closing.push(base);
	const delta = await openModel(sides.delta.model);
	closing.push(delta);
	const { convention = "auto", dtype = null, allowUnlikely = false } = inputs;
	const doubts = await checkInputs(base, delta, { allowUnlikely });
	const changes = Object.fromEntries(
		Object.entries(inputs.changes ?? {}).filter(([, to]) => to !== undefined),
	);
	const isChanged = Object.keys(changes).length > 0;
	const layout = chooseLayout(inputs);
	const options = { dtype, changes, layout, sum: inputs.expectSum ?? null };
	const { plan, warnings } =
		convention === "auto" && !isChanged
			? planAuto(base, delta, options)
			: planMerge(
					...([base, delta] as const),
					convention === "auto" ? "add" : (convention as ConventionId),
					options,
				);
	const checkpoints = { base, delta };
	return {
		plan,
		warnings: [...base.warnings, ...delta.warnings, ...doubts, ...warnings],
		sources: sourcesOf(plan, {
			base: base.shards,
			delta: delta.shards,
		}),
		openSideFile: (from, fileName) =>
			checkpoints[from as Side].openSideFile(fileName),
	};
}

async function openBytes(
	inputs: PlanInputs,
	id: ByteSchemeId,
	sides: Sides,
	closing: Closing,
): Promise<Opened> {
	const scheme: ByteScheme = BYTE_SCHEMES[id];
	const { dtype, shards, maxShardBytes } = inputs;
	const given = {
		...{ "--dtype": dtype, "--shards": shards },
		"--max-shard-size": maxShardBytes,
	};
	for (const [where, value] of Object.entries(given))
		if (value !== undefined)
			throw new UsageError({
				...{ where, remedy: "Leave it out" },
				what: `${id} combines bytes of files and knows no tensors`,
			});
	const delta = await openFiles(sides.delta.model, { folder: scheme.folder });
	closing.push(delta);
	const base = await openFiles(sides.base.model, {
		only: keyNames(scheme, delta),
	});
	closing.push(base);
	const reserved = [CHECKSUM_FILE_NAME, MANIFEST_FILE_NAME];
	const { plan, warnings } = planBytes(base, delta, id, { reserved });
	const sources = sourcesOf(plan, { base: base.files, delta: delta.files });
	return {
		...{ plan, sources },
		warnings: [...warnings, ...(await checkKey(scheme, sources, inputs))],
		openSideFile: (_, fileName) => {
			throw new RangeError(`${fileName}: files of bytes have none beside them`);
		},
	};
}

/** The files of the base's folder that may be the key. */
function keyNames({ key }: ByteScheme, delta: OpenFiles): Set<string> {
	return new Set(
		key.kind === "one file"
			? [key.fileName]
			: delta.files.map(({ fileName }) => fileName),
	);
}

/** @throws {MismatchError} where the key is not the one its publisher tells of, unless that is allowed */
async function checkKey(
	{ key }: ByteScheme,
	sources: OpenInputs["sources"],
	{ allowUnlikely }: PlanInputs,
): Promise<string[]> {
	const [source] = sources[INPUT.base] ?? [];
	if (!source || key.kind !== "one file" || key.md5 === null) return [];
	const found = await md5OfStart(source, key.keyBytes ?? source.byteLength);
	if (found === key.md5) return [];
	const error = wrongKey(source.path, key, found);
	if (!allowUnlikely) throw error;
	return [error.message];
}

/** The open files that a plan names, in its order. */
function sourcesOf(
	{ inputs }: MergePlan,
	files: Record<Side, readonly { fileName: string; source: FileSource }[]>,
): FileSource[][] {
	return inputs.map(({ side, shards }) => {
		const byName = new Map(
			files[side as Side].map((f) => [f.fileName, f.source]),
		);
		return shards.map(({ fileName }) => byName.get(fileName) as FileSource);
	});
}

function checkOptions(inputs: PlanInputs): void {
	const { convention = "auto", dtype } = inputs;
	checkConvention(convention, ["auto", ...CONVENTION_IDS, ...BYTE_SCHEME_IDS]);
	checkDtype(dtype);
	chooseLayout(inputs);
}
