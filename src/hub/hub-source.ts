import { SourceChangedError } from "../errors.ts";
import type { FileSource } from "../io/file-source.ts";
import { readRange } from "./read-range.ts";
import { describeSubject } from "./refusal.ts";
import type { RemoteFile } from "./repository.ts";
import type { HubSettings } from "./settings.ts";

/**
 * A file on the Hub, read by ranges and stored nowhere. Its bytes have a length but no checksum that could be
 * checked, so it serves to look at headers, not to merge from.
 */
export function openHubSource(
	settings: HubSettings,
	file: RemoteFile,
	signal?: AbortSignal,
): FileSource {
	const { byteLength } = file;
	const where = describeSubject({ ...file, revision: file.commit });
	return {
		...{ path: where, byteLength, identity: file.commit },
		async read(fileOffset, into) {
			const end = fileOffset + into.length;
			if (end > byteLength)
				throw new SourceChangedError({
					where,
					what: "the file ends early",
					expected: `${end} bytes`,
					found: `${byteLength}`,
				});
			let done = 0;
			for await (const bytes of readRange(
				...([settings, file, fileOffset, end, signal] as const),
			)) {
				into.set(bytes, done);
				done += bytes.length;
			}
		},
		chooseReading: async () => false, // there is no page cache to bypass
		checkUnchanged: async () => {}, // a commit does not change, and each answer was compared with the list
		close: async () => {},
	};
}
