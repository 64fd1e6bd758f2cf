import type { Crew } from "./crew.ts";

/** The SHA-256 of one file, taken from bytes that arrive in slots, in any order. */
export class Digest {
	private readonly crew: Crew;
	private readonly number: number;
	private last: Promise<void> = Promise.resolve();

	/** @param number  unlike that of any other file of the crew */
	constructor(crew: Crew, number: number) {
		this.crew = crew;
		this.number = number;
	}

	/**
	 * Take a place in the file's order. The bytes follow once they are there; `skip` ends a place that
	 * will have none, so that those behind it do not wait for ever.
	 */
	takePlace(): DigestPlace {
		const before = this.last;
		let passOn = () => {};
		this.last = new Promise((resolve) => {
			passOn = resolve;
		});
		return {
			hash: async (byteOffset, byteLength) => {
				await before;
				const step = { digest: this.number, byteOffset, byteLength };
				const hashed = this.crew.perform({ kind: "hash", ...step });
				passOn(); // the crew keeps the order of one digest
				await hashed;
			},
			skip: () => passOn(),
		};
	}

	/** After the last place was taken. @returns hex */
	async finish(): Promise<string> {
		await this.last;
		const digest = this.number;
		const { sha256 } = await this.crew.perform({ kind: "finish", digest });
		return sha256;
	}
}

export interface DigestPlace {
	/** @param byteOffset  in the memory of the slots, which must stay as it is until this resolves */
	hash(byteOffset: number, byteLength: number): Promise<void>;
	skip(): void;
}
