import type { ByteSource, PassingFile } from "../io/byte-source.ts";
import type { CheckedRange } from "../io/checked-range.ts";
import type { FileSource } from "../io/file-source.ts";
import { gatherView, type StridedView } from "./gather-view.ts";

/** A view of a torch file, presented as contiguous bytes. */
export interface PlacedView extends StridedView {
	/** where these bytes can be read: behind the end of the file */
	readOffset: number;
	byteLength: number;
}

/**
 * A torch file in which every tensor can be read as one stretch: those that the file holds in another
 * order stand, gathered while they are read, behind its end.
 */
export class TorchSource implements FileSource {
	readonly path: string;
	readonly identity: string;
	readonly contentId: string | undefined;
	readonly byteLength: number;
	readonly readableLength: number;
	readonly checkedRanges: readonly CheckedRange[];
	private readonly file: FileSource;
	private readonly views: readonly PlacedView[];

	/** @param views  in the order of their `readOffset`s, none over another or over the file */
	constructor(
		file: FileSource,
		views: readonly PlacedView[],
		checkedRanges: readonly CheckedRange[],
	) {
		this.path = file.path;
		this.identity = file.identity;
		this.contentId = file.contentId;
		this.byteLength = file.byteLength;
		this.file = file;
		this.views = views;
		this.checkedRanges = checkedRanges;
		const last = views.at(-1);
		this.readableLength = last
			? last.readOffset + last.byteLength
			: file.byteLength;
	}

	read(
		fileOffset: number,
		into: Uint8Array,
		isOneOfTwo?: boolean,
	): Promise<void> {
		return this.readBy(this.file, fileOffset, into, isOneOfTwo);
	}

	get passing(): PassingFile | undefined {
		const { passing } = this.file;
		if (passing === undefined) return undefined;
		const { byteLength } = this;
		const again = {
			byteLength,
			read: (at: number, into: Uint8Array) => passing.readAgain(at, into),
		};
		return {
			readAgain: (at, into) => this.readBy(again, at, into),
			finish: () => passing.finish(),
			trust: () => passing.trust(),
		};
	}

	private async readBy(
		file: ByteSource,
		fileOffset: number,
		into: Uint8Array,
		isOneOfTwo?: boolean,
	): Promise<void> {
		if (fileOffset + into.length <= this.byteLength || !this.views.length)
			return file.read(fileOffset, into, isOneOfTwo);
		const inFile = Math.max(this.byteLength - fileOffset, 0);
		if (inFile > 0) await file.read(fileOffset, into.subarray(0, inFile));
		into.fill(0, inFile); // what lies between the views
		const end = fileOffset + into.length;
		for (const view of this.views) {
			const from = Math.max(view.readOffset, fileOffset);
			const to = Math.min(view.readOffset + view.byteLength, end);
			if (from >= to) continue;
			const first = (from - view.readOffset) / view.elementBytes;
			const part = into.subarray(from - fileOffset, to - fileOffset);
			if (!Number.isInteger(first) || part.length % view.elementBytes !== 0)
				throw new RangeError(`${this.path}: a read of parts of elements`);
			await gatherView(file, view, first, part);
		}
	}

	get ready(): (() => Promise<void>) | undefined {
		return this.file.ready?.bind(this.file);
	}

	get isDirect(): boolean {
		return this.file.isDirect;
	}

	chooseReading(...how: Parameters<FileSource["chooseReading"]>) {
		return this.file.chooseReading(...how);
	}

	checkUnchanged(): Promise<void> {
		return this.file.checkUnchanged();
	}

	close(): Promise<void> {
		return this.file.close();
	}
}
