import { SourceChangedError } from "../errors.ts";
import type { ByteSource } from "../io/byte-source.ts";
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
): ByteSource {
	const { byteLength } = file;
	return {
		byteLength,
		async read(fileOffset, into) {
			const end = fileOffset + into.length;
			if (end > byteLength)
				throw new SourceChangedError({
					where: describeSubject({ ...file, revision: file.commit }),
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
	};
}
