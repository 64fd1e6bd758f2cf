import type { Doubt } from "./doubt.ts";
import type { KnownFile } from "./known-release.ts";

/** A weight file of an input that is known by its checksum. */
export interface RecognisedFile {
	/** the file's path */
	where: string;
	file: KnownFile;
}

/** Repositories of full weights that are taken for deltas, and what their configs may say they came from. */
const FULL_WEIGHTS = [
	{
		repository: "junelee/wizard-vicuna-13b",
		config: "wizard_vicuna_13b_600_step",
	},
	{ repository: "TheBloke/wizard-vicuna-13B-HF" },
	{ repository: "TheBloke/wizardLM-7B-HF" },
	{ repository: "lmsys/vicuna-7b-v1.1" },
	{ repository: "lmsys/vicuna-13b-v1.1" },
] as const;

export const FULL_WEIGHTS_REMEDY =
	"This repository holds full weights: it needs no merge, use it as it is";
export const SWAP_REMEDY = "Swap --base and --delta";

/**
 * Judge inputs by the files of theirs that are known: one doubt for each release in a wrong place, or of
 * which something is to be said.
 */
export function judgeKnownFiles(
	base: readonly RecognisedFile[],
	delta: readonly RecognisedFile[],
): Doubt[] {
	const swapped = delta.some(({ file }) => file.role !== "delta");
	return [
		...byRelease(base).flatMap((files) => judgeBase(files, swapped)),
		...byRelease(delta).flatMap((files) =>
			judgeDelta(
				files,
				base.some(({ file }) => file.role === "delta"),
			),
		),
	];
}

/** Files of one release and role together, so that each is spoken of once. */
function byRelease(files: readonly RecognisedFile[]): RecognisedFile[][] {
	const groups = new Map<string, RecognisedFile[]>();
	for (const entry of files) {
		const { release, role } = entry.file;
		const group = groups.get(`${role} ${release}`) ?? [];
		group.push(entry);
		groups.set(`${role} ${release}`, group);
	}
	return [...groups.values()];
}

function judgeBase(files: readonly RecognisedFile[], swapped: boolean) {
	switch (files[0]?.file.role) {
		case "delta":
			return [
				doubt(files, {
					refuses: true,
					what: "this is a delta, not a base",
					remedy: swapped
						? SWAP_REMEDY
						: "Give the model that it was made from as --base",
				}),
			];
		case "merged":
			return [
				doubt(files, {
					refuses: false,
					what: "the base is already merged",
					remedy:
						"A delta is made for the original weights: is it really for this model?",
				}),
				...advice(files),
			];
		default:
			return advice(files);
	}
}

function judgeDelta(files: readonly RecognisedFile[], swapped: boolean) {
	switch (files[0]?.file.role) {
		case "base":
		case "key":
			return [
				doubt(files, {
					refuses: true,
					what: "these are the weights of a base, not a delta",
					remedy: swapped ? SWAP_REMEDY : "Give the delta as --delta",
				}),
			];
		case "merged":
			return [
				doubt(files, {
					refuses: true,
					what: "these are full weights, not a delta",
					remedy: swapped ? SWAP_REMEDY : FULL_WEIGHTS_REMEDY,
				}),
			];
		default:
			return advice(files);
	}
}

function doubt(
	files: readonly RecognisedFile[],
	judgement: Pick<Doubt, "refuses" | "what" | "remedy">,
): Doubt {
	return {
		...judgement,
		where: files[0]?.where ?? "",
		found: files[0]?.file.name ?? "",
		details: files.map(({ where, file }) => `${where}: ${file.name}`),
	};
}

function advice(files: readonly RecognisedFile[]): Doubt[] {
	const advised = files.filter(({ file }) => file.advice !== undefined);
	const [first] = advised;
	return first === undefined
		? []
		: [
				doubt(advised, {
					refuses: false,
					what: "a known file",
					remedy: first.file.advice ?? "",
				}),
			];
}

/**
 * Judge a delta by its repository's name, `owner/name` or the folder of a Hub cache, and by the name its
 * config says the model had when it was saved.
 *
 * @param config  what config.json holds, or null where there is none
 */
export function judgeOrigin(location: string, config: unknown): Doubt[] {
	const saved = String(
		(config as { _name_or_path?: unknown } | null)?._name_or_path ?? "",
	);
	const known = FULL_WEIGHTS.find(
		(entry) =>
			namesRepository(location, entry.repository) ||
			("config" in entry && lastPart(saved) === entry.config),
	);
	return known === undefined
		? []
		: [
				{
					refuses: true,
					where: location,
					what: "these are full weights, not a delta",
					found: namesRepository(location, known.repository)
						? known.repository
						: `${JSON.stringify(saved)} in config.json, which is ${known.repository} or made of it`,
					remedy: FULL_WEIGHTS_REMEDY,
				},
			];
}

function namesRepository(location: string, repository: string): boolean {
	const text = location.toLowerCase().replaceAll("\\", "/");
	const name = repository.toLowerCase();
	const [path = ""] = text.replace(/\/+$/, "").split("@");
	return (
		path === name ||
		path.endsWith(`/${name}`) ||
		text.split("/").includes(`models--${name.replace("/", "--")}`)
	);
}

function lastPart(path: string): string {
	return path.split(/[\\/]/).at(-1) ?? "";
}
