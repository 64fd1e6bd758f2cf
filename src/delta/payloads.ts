import type { FileListing, ListedFile } from "../checkpoint/open-files.ts";
import { FormatError, MismatchError } from "../errors.ts";
import { recogniseSignature } from "../format/signature.ts";
import {
	type ByteScheme,
	type ByteSchemeId,
	SHA256_HEADER_BYTES,
} from "./byte-schemes.ts";
import { schemeOfNames } from "./choose-scheme.ts";
import { listed } from "./mismatch.ts";

/** A file of the delta with what becomes of it. */
export interface Payload {
	file: ListedFile;
	outName: string;
	/** how it is encoded; null for a file in clear */
	encoded: {
		/** what stands before the encoded bytes */
		headerBytes: number;
		/** of the result, in hex, where the file tells */
		sha256: string | null;
	} | null;
}

/**
 * Say what becomes of each file of the delta.
 *
 * @param reserved  names the output has a use of its own for: such files are left out
 * @throws {FormatError} where a file is not what its name says, or two would become one
 * @throws {MismatchError} where the names are of another scheme, or none is to be decoded
 */
export function listPayloads(
	delta: FileListing,
	id: ByteSchemeId,
	scheme: ByteScheme,
	reserved: readonly string[],
): { payloads: Payload[]; leftOut: string[] } {
	const payloads: Payload[] = [];
	const leftOut: string[] = [];
	const foreign: string[] = [];
	for (const file of delta.files) {
		const { fileName } = file;
		const [, name, digest] = scheme.encoded.exec(fileName) ?? [];
		const outName = name ?? fileName;
		if (reserved.includes(outName)) leftOut.push(fileName);
		else if (name === undefined && outName.endsWith(".enc"))
			foreign.push(fileName);
		else if (name === undefined)
			payloads.push({ file, outName, encoded: null });
		else {
			const where = `${delta.location}, ${fileName}`;
			const encoded =
				scheme.header === null
					? checkStart(file, where)
					: readDigest(file, digest ?? "", where);
			payloads.push({ file, outName, encoded });
		}
	}
	if (foreign.length > 0) throw foreignNames(delta, id, foreign);
	if (payloads.every(({ encoded }) => encoded === null))
		throw new MismatchError({
			where: delta.location,
			what: `no file that ${id} decodes`,
			remedy: "Name the folder with the encoded files, or another convention",
		});
	refuseSameNames(delta, payloads);
	return { payloads, leftOut };
}

const GET_AGAIN =
	"Get the published file itself, whole (in a clone: git lfs pull)";

/** Encoded bytes may look like anything: a shorter signature than this will turn up by chance. */
const LEAST_SIGNATURE_BYTES = 5;

function checkStart({ start }: ListedFile, where: string): Payload["encoded"] {
	const known = recogniseSignature(start, LEAST_SIGNATURE_BYTES);
	if (known)
		throw new FormatError({
			...{ where, what: "not an encoded file", found: known.is },
			remedy: GET_AGAIN,
		});
	return { headerBytes: 0, sha256: null };
}

/** The digest before the encoded bytes, which must be the one in the name. */
function readDigest(
	{ byteLength, start }: ListedFile,
	expected: string,
	where: string,
): Payload["encoded"] {
	const header = Buffer.from(start.subarray(0, SHA256_HEADER_BYTES));
	const sha256 = header.toString("hex");
	if (sha256 !== expected)
		throw new FormatError({
			...{ where, expected, remedy: GET_AGAIN },
			what: "the file does not begin with the checksum in its name",
			found:
				recogniseSignature(start)?.is ??
				(byteLength < SHA256_HEADER_BYTES ? `${byteLength} bytes` : sha256),
		});
	return { headerBytes: SHA256_HEADER_BYTES, sha256 };
}

function foreignNames(
	delta: FileListing,
	id: ByteSchemeId,
	names: readonly string[],
): MismatchError {
	const other = schemeOfNames(names);
	return new MismatchError({
		where: delta.location,
		what: `${counted(names.length)} not named as those of ${id}`,
		remedy:
			other === null || other === id
				? "Get the files under the names they were published with"
				: `Such names are those of --convention ${other}`,
		details: listed(names),
	});
}

function counted(count: number): string {
	return count === 1 ? "1 encoded file is" : `${count} encoded files are`;
}

function refuseSameNames(
	delta: FileListing,
	payloads: readonly Payload[],
): void {
	const sources = new Map<string, string>();
	for (const { outName, file } of payloads) {
		const other = sources.get(outName);
		if (other !== undefined)
			throw new FormatError({
				where: delta.location,
				what: `two files would become ${outName}`,
				found: `${other} and ${file.fileName}`,
				remedy: "Keep the one that belongs to the model",
			});
		sources.set(outName, file.fileName);
	}
}
