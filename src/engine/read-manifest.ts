import { FormatError } from "../errors.ts";
import type { ChecksumEntry } from "../format/checksum-file.ts";
import { JsonScanner } from "../format/json-scanner.ts";
import { MANIFEST_VERSION } from "./manifest.ts";

/** A manifest that cannot be understood although nothing is wrong with it. */
export class NewerManifest extends FormatError {}

/**
 * What a manifest says of the files that were written beside it.
 *
 * @param where  the file, for messages
 * @throws {FormatError} where it is no manifest, or one of a newer version
 */
export function parseManifestOutputs(
	bytes: Uint8Array,
	where: string,
): ChecksumEntry[] {
	const json = new JsonScanner(bytes, where);
	let version: number | null = null;
	let outputs: ChecksumEntry[] | null = null;
	json.object((name) => {
		// It comes first: what follows may mean something else in another version.
		if (name === "schemaVersion") {
			version = json.integer();
			checkVersion(version, where);
		} else if (name === "outputs") outputs = parseOutputs(json);
		else json.skip();
	});
	json.end();
	if (version === null || outputs === null)
		throw new FormatError({
			where,
			what: "no manifest of merge-delta",
			expected: "schemaVersion and outputs",
			remedy: "Name a merge-delta.json or a file of checksums",
		});
	return outputs;
}

function checkVersion(version: number, where: string): void {
	if (version !== MANIFEST_VERSION)
		throw new NewerManifest({
			where,
			what: "a manifest of another version than this merge-delta knows",
			expected: `schemaVersion ${MANIFEST_VERSION}`,
			found: `${version}`,
			remedy: "Use a newer merge-delta",
		});
}

function parseOutputs(json: JsonScanner): ChecksumEntry[] {
	const outputs: ChecksumEntry[] = [];
	const names = new Set<string>();
	json.array(() => {
		const { offset } = json;
		const entry: Partial<Record<string, string>> = {};
		json.object((field) => {
			if (field === "fileName" || field === "sha256")
				entry[field] = json.string();
			else json.skip();
		});
		const { fileName, sha256 } = entry;
		if (fileName === undefined || !/^[0-9a-f]{64}$/.test(sha256 ?? ""))
			return json.fail("an output without fileName or sha256", offset);
		if (names.has(fileName) || !isFileName(fileName))
			return json.fail(
				`an output named ${JSON.stringify(fileName)}`,
				offset,
				"plain names, each once",
			);
		names.add(fileName);
		outputs.push({ name: fileName, checksum: sha256 as string });
	});
	return outputs;
}

/** Whether it names a file of a folder: nothing elsewhere. */
function isFileName(name: string): boolean {
	return !/[/\\\0]|^\.{0,2}$|^[a-z]:/i.test(name);
}
