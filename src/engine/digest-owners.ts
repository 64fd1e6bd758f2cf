/** Which thread hashes which file: all of a file goes to one, and each has as many files as the others. */
export class DigestOwners<Member> {
	private readonly owners = new Map<number, Member>();
	/** how many files each has */
	private readonly counts: Map<Member, number>;

	constructor(members: Iterable<Member>) {
		this.counts = new Map([...members].map((member) => [member, 0]));
	}

	/** Whether a thread may do the next step of a digest. */
	mayHash(member: Member, digest: number): boolean {
		const owner = this.owners.get(digest);
		if (owner !== undefined) return owner === member;
		return this.counts.get(member) === Math.min(...this.counts.values());
	}

	take(member: Member, digest: number): void {
		if (this.owners.has(digest)) return;
		this.owners.set(digest, member);
		this.count(member, 1);
	}

	/** After its last step. */
	release(digest: number): void {
		const owner = this.owners.get(digest);
		if (owner === undefined) return;
		this.owners.delete(digest);
		this.count(owner, -1);
	}

	private count(member: Member, change: number): void {
		this.counts.set(member, (this.counts.get(member) ?? 0) + change);
	}
}
