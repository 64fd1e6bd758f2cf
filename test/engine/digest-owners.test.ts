import { expect, test } from "vitest";
import { DigestOwners } from "../../src/engine/digest-owners.ts";
import type { HashedFile } from "../../src/engine/file-hashes.ts";

function fileOf(number: number, stays: boolean): HashedFile {
	const progress = new SharedArrayBuffer(0);
	return { ...{ number, stays, progress }, algorithm: "sha256" };
}

/** Which of two threads may do the next step of a file. */
function whoMay(owners: DigestOwners<string>, file: HashedFile): string {
	return ["a", "b"].filter((member) => owners.mayHash(member, file)).join();
}

test("a file that stays has one thread to its end, and each thread as many as the others", () => {
	const owners = new DigestOwners(["a", "b"]);
	const [first, second, third] = [
		fileOf(0, true),
		fileOf(1, true),
		fileOf(2, true),
	];
	owners.take("a", first);
	owners.release(first, false);
	expect(whoMay(owners, first)).toBe("a");
	expect(whoMay(owners, second)).toBe("b");
	owners.take("b", second);
	expect(whoMay(owners, third)).toBe("a,b");
	owners.release(second, true);
	expect(whoMay(owners, third)).toBe("b");
});

test("any other has one while steps of it are under way, whatever files the threads have", () => {
	const owners = new DigestOwners(["a", "b"]);
	const [moving, staying] = [fileOf(0, false), fileOf(1, true)];
	owners.take("a", moving);
	owners.take("a", moving);
	expect(whoMay(owners, moving)).toBe("a");
	expect(whoMay(owners, staying)).toBe("a,b");
	owners.release(moving, false);
	expect(whoMay(owners, moving)).toBe("a");
	owners.take("b", staying);
	owners.release(moving, false);
	expect(whoMay(owners, moving)).toBe("a,b");
	owners.take("b", moving);
	expect(whoMay(owners, moving)).toBe("b");
	owners.release(moving, true);
	expect(whoMay(owners, moving)).toBe("a,b");
});
