import type { HashedFile } from "./file-hashes.ts";

/** Which thread hashes which file: never two at once, since each begins where the other ends. */
export class DigestOwners<Member> {
	/** by the file's number, and how many steps of it are under way */
	private readonly owned = new Map<number, { by: Member; steps: number }>();
	/** how many files each has that no other may go on with: as many as the others */
	private readonly counts: Map<Member, number>;

	constructor(members: Iterable<Member>) {
		this.counts = new Map([...members].map((member) => [member, 0]));
	}

	/** Whether a thread may do the next step of a file. */
	mayHash(member: Member, { number, stays }: HashedFile): boolean {
		const owned = this.owned.get(number);
		if (owned !== undefined) return owned.by === member;
		if (!stays) return true;
		return this.counts.get(member) === Math.min(...this.counts.values());
	}

	/** Begin a step of a file. */
	take(member: Member, { number, stays }: HashedFile): void {
		let owned = this.owned.get(number);
		if (owned === undefined) {
			owned = { by: member, steps: 0 };
			this.owned.set(number, owned);
			if (stays) this.count(member, 1);
		}
		owned.steps++;
	}

	/** A step of a file is done. @param isLast  no more will come */
	release({ number, stays }: HashedFile, isLast: boolean): void {
		const owned = this.owned.get(number);
		if (owned === undefined) return;
		owned.steps--;
		if (owned.steps > 0 || (stays && !isLast)) return;
		this.owned.delete(number);
		if (stays) this.count(owned.by, -1);
	}

	private count(member: Member, change: number): void {
		this.counts.set(member, (this.counts.get(member) ?? 0) + change);
	}
}
