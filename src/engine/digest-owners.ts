/** Which thread hashes which file: all of a file goes to one, and each has as many files as the others. */
export class DigestOwners<Member> {
	private readonly owned: Map<Member, Set<number>>;

	constructor(members: Iterable<Member>) {
		this.owned = new Map([...members].map((member) => [member, new Set()]));
	}

	/** Whether a thread may do the next step of a digest. */
	mayHash(member: Member, digest: number): boolean {
		const digests = this.owned.get(member);
		if (digests?.has(digest)) return true;
		const all = [...this.owned.values()];
		if (all.some((others) => others.has(digest))) return false;
		return digests?.size === Math.min(...all.map(({ size }) => size));
	}

	take(member: Member, digest: number): void {
		this.owned.get(member)?.add(digest);
	}

	/** After its last step. */
	release(digest: number): void {
		for (const digests of this.owned.values()) digests.delete(digest);
	}
}
