import { createHash, randomBytes } from "node:crypto";
import { constants, fstatSync } from "node:fs";
import {
	mkdir,
	mkdtemp,
	open,
	readdir,
	readFile,
	readlink,
	rm,
	stat,
	writeFile,
} from "node:fs/promises";
import { constants as osConstants, tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, test, vi } from "vitest";
import {
	LocalIoError,
	OutputConflictError,
	SourceChangedError,
} from "../../src/errors.ts";
import {
	cameFromCache,
	DIRECT_IO,
	isCached,
	OpenFile,
} from "../../src/io/direct-io.ts";
import { openFileSource } from "../../src/io/file-source.ts";
import { type FileSystem, LOCAL_FILES } from "../../src/io/file-system.ts";
import { OutputFile } from "../../src/io/output-file.ts";
import { thisProcess } from "../../src/io/owner.ts";
import { Staging } from "../../src/io/staging.ts";
import { toLocalIoError } from "../../src/io/system-error.ts";
import type { Place } from "../../src/io/take-over.ts";
import { scratchFolder } from "../end-to-end/run.ts";

const BYTES = randomBytes(5 * 2 ** 20);
const ODD_LENGTH = 2 ** 20 + 4096 + 77;
/** The scratch folder is on a disk whose file system can bypass the page cache. */
const DIRECT_HERE = process.platform === "linux" && (await canBypass());
const SHA256 = createHash("sha256").update(BYTES).digest("hex");

/** Memory that begins at a page. */
function alignedBytes(byteLength: number): Uint8Array {
	const pages = Math.ceil(byteLength / 2 ** 16);
	const limits = { initial: pages, maximum: pages, shared: true };
	return new Uint8Array(new WebAssembly.Memory(limits).buffer, 0, byteLength);
}

async function canBypass(): Promise<boolean> {
	const flags = constants.O_RDONLY | constants.O_DIRECT;
	const folder = await mkdtemp(path.join(tmpdir(), "merge-delta-"));
	const file = path.join(folder, "f");
	await writeFile(file, "f");
	const handle = await open(file, flags).catch(() => null);
	await handle?.close();
	await rm(folder, { recursive: true });
	return handle !== null;
}

describe("a file source", () => {
	test("reads any stretch, and says when the file ended early or changed", async () => {
		const file = path.join(await scratchFolder(), "f");
		await writeFile(file, BYTES);
		const source = await openFileSource(file);
		const into = new Uint8Array(100);
		await source.read(1234, into);
		expect(Buffer.compare(into, BYTES.subarray(1234, 1334))).toBe(0);
		await source.checkUnchanged();
		await expect(source.read(BYTES.length - 50, into)).rejects.toThrow(
			SourceChangedError,
		);
		await writeFile(file, "other");
		await expect(source.checkUnchanged()).rejects.toThrow(SourceChangedError);
		await source.close();
	});

	test.each(DIRECT_IO)(
		"gives the same bytes at any offset, direct I/O %s",
		async (directIo) => {
			const file = path.join(await scratchFolder(), "f");
			await writeFile(file, BYTES.subarray(0, ODD_LENGTH));
			const source = await openFileSource(file);
			await source.chooseReading(directIo);
			const { isDirect: direct } = source;
			if (directIo === "off") expect(direct).toBe(false);
			if (directIo === "on" && DIRECT_HERE) expect(direct).toBe(true);
			const memory = alignedBytes(2 ** 21);
			for (const [fileOffset, byteLength, at] of [
				[0, ODD_LENGTH, 0],
				[4096, ODD_LENGTH - 4096, 0],
				[4096, 8192, 4096],
				[4096, 5000, 0],
				[4097, 8192, 0],
				[4096, 8192, 1],
				[ODD_LENGTH - 1, 1, 0],
				[ODD_LENGTH, 0, 0],
			] as const) {
				const into = memory.subarray(at, at + byteLength).fill(0);
				await source.read(fileOffset, into);
				const expected = BYTES.subarray(fileOffset, fileOffset + byteLength);
				expect(Buffer.compare(into, expected)).toBe(0);
			}
			await expect(
				source.read(ODD_LENGTH - 10, memory.subarray(0, 4096)),
			).rejects.toThrow(SourceChangedError);
			await source.close();
		},
	);

	test.skipIf(!DIRECT_HERE)(
		"what is read twice goes through the page cache, the rest past it",
		async () => {
			const file = path.join(await scratchFolder(), "f");
			await writeFile(file, BYTES);
			const opened = new OpenFile(await open(file));
			await opened.bypassCache(file, constants.O_RDONLY);
			const into = alignedBytes(8192);
			for (const throughCache of [false, true])
				await opened.transfer(
					...([4096, into] as const),
					async (handle, bytes) => {
						expect(handle === opened.buffered).toBe(throughCache);
						return bytes.length;
					},
					throughCache,
				);
			expect.assertions(2);
			await opened.close();
		},
	);

	test.skipIf(!DIRECT_HERE)(
		"what is open past the page cache is closed, also where it cannot be looked at",
		async () => {
			const file = path.join(await scratchFolder(), "f");
			await writeFile(file, BYTES);
			const buffered = await open(file);
			const opened = new OpenFile(buffered);
			vi.spyOn(buffered, "stat").mockRejectedValueOnce(new Error("EIO"));
			await expect(
				opened.bypassCache(file, constants.O_RDONLY),
			).rejects.toThrow("EIO");
			await opened.close();
			const links = (await readdir("/proc/self/fd")).map((fd) =>
				readlink(path.join("/proc/self/fd", fd)).catch(() => ""),
			);
			expect(await Promise.all(links)).not.toContain(file);
		},
	);

	test.skipIf(!DIRECT_HERE).each([
		["on", true, [[0, 4 * 2 ** 20]]],
		["on", false, []],
		["off", true, []],
	] as const)(
		"of a file read past the page cache (%s), what was read twice through it (%s) is let go",
		async (directIo, isOneOfTwo, expected) => {
			const file = path.join(await scratchFolder(), "f");
			await writeFile(file, BYTES);
			const source = await openFileSource(file);
			const dropped: number[][] = [];
			const { ino } = await stat(file);
			await source.chooseReading(directIo, (fd, ...stretch) => {
				expect(fstatSync(fd).ino).toBe(ino);
				dropped.push(stretch);
			});
			const into = alignedBytes(2 ** 22);
			await source.read(0, into, isOneOfTwo);
			expect(dropped).toEqual([]);
			await source.read(0, into, isOneOfTwo);
			expect(dropped).toEqual(expected);
			await source.close();
		},
	);

	test("a file that was just read is told from the page cache", async () => {
		const file = path.join(await scratchFolder(), "f");
		await writeFile(file, BYTES);
		await readFile(file);
		const handle = await open(file);
		expect(isCached(handle, BYTES.length)).toBe(true);
		await handle.close();
	});

	test("a missing file is a local failure", async () => {
		await expect(openFileSource("/no/such/file")).rejects.toThrow(LocalIoError);
	});
});

test.each([
	["a fast machine's cache", 3e-6, 2e-6, true],
	["a busy machine's cache", 60e-6, 40e-6, true],
	["a fast disk", 80e-6, 3e-6, false],
	["a busy machine's disk", 400e-6, 40e-6, false],
])(
	"a page of %s is known by how long it takes again",
	(_, first, again, is) => {
		expect(cameFromCache(first, again)).toBe(is);
	},
);

describe("an output file", () => {
	test.each(DIRECT_IO)(
		"holds what was written in any order, direct I/O %s",
		async (directIo) => {
			const name = path.join(await scratchFolder(), "f");
			const bytes = alignedBytes(ODD_LENGTH);
			bytes.set(BYTES.subarray(0, ODD_LENGTH));
			const file = await OutputFile.create(LOCAL_FILES, name, directIo);
			const cuts = [0, 4096, 4096 + 100, 3 * 4096, 2 ** 20, ODD_LENGTH];
			for (let i = cuts.length - 1; i > 0; i--) {
				const [begin, end] = [cuts[i - 1], cuts[i]] as [number, number];
				await file.write(begin, bytes.subarray(begin, end));
			}
			await file.sync();
			await file.close();
			expect(Buffer.compare(await readFile(name), bytes)).toBe(0);
		},
	);

	test.skipIf(!DIRECT_HERE).each([
		["on", ODD_LENGTH],
		["off", 0],
	] as const)(
		"has its full length before it is written, direct I/O %s: %i",
		async (directIo, byteLength) => {
			const name = path.join(await scratchFolder(), "f");
			const file = await OutputFile.create(LOCAL_FILES, name, directIo);
			await file.preallocate(ODD_LENGTH);
			expect(await file.byteLength()).toBe(byteLength);
			await file.close();
		},
	);
});

describe("staging", () => {
	async function place(): Promise<Place> {
		const out = path.join(await scratchFolder(), "out");
		return { out, files: LOCAL_FILES, self: await thisProcess() };
	}
	async function begin(at: Place): Promise<Staging> {
		const staging = await Staging.open(at);
		await staging.begin();
		return staging;
	}

	test("nothing appears before publishing, and all of it at once", async () => {
		const at = await place();
		const { out } = at;
		const staging = await begin(at);
		const file = await staging.write("f", [BYTES]);
		expect(file).toEqual({
			fileName: "f",
			byteLength: BYTES.length,
			sha256: SHA256,
		});
		expect(await readdir(path.dirname(out))).toEqual(["out.merge-delta"]);
		await staging.publish(new Set(["f"]), null);
		await staging.discard();
		expect(await readdir(path.dirname(out))).toEqual(["out"]);
		expect(Buffer.compare(await readFile(path.join(out, "f")), BYTES)).toBe(0);
	});

	test("case 163: whoever takes a note that is not written yet has the folder alone", async () => {
		const at = await place();
		const other = { ...at.self, pid: process.ppid };
		const note = JSON.stringify(other);
		const taking: FileSystem = {
			...LOCAL_FILES,
			create: async (file) => {
				const made = await LOCAL_FILES.create(file);
				await rm(file);
				await writeFile(file, note);
				return made;
			},
		};
		const opening = Staging.open({ ...at, files: taking });
		await expect(opening).rejects.toThrow("in use by another process");
		const root = `${at.out}.merge-delta`;
		expect(await readFile(path.join(root, "owner.json"), "utf8")).toBe(note);
	});

	test("a file is never written twice", async () => {
		const staging = await begin(await place());
		await staging.create("f");
		await expect(staging.create("f")).rejects.toThrow(LocalIoError);
		await staging.discard();
	});

	test("what appears at the output meanwhile is kept", async () => {
		const at = await place();
		const staging = await begin(at);
		await mkdir(at.out);
		await writeFile(path.join(at.out, "mine"), "precious");
		const publishing = staging.publish(new Set(), null);
		await expect(publishing).rejects.toThrow(OutputConflictError);
		await staging.discard();
		expect(await readdir(at.out)).toEqual(["mine"]);
	});

	test("a file that is not of the output is neither published nor deleted", async () => {
		const at = await place();
		const staging = await begin(at);
		const [merged] = (await readdir(staging.root)).filter((name) =>
			name.startsWith("merged."),
		);
		const mine = path.join(staging.root, merged as string, "mine");
		await writeFile(mine, "precious");
		const publishing = staging.publish(new Set(["f"]), null);
		await expect(publishing).rejects.toThrow(OutputConflictError);
		expect(await readFile(mine, "utf8")).toBe("precious");
		expect(await readdir(path.dirname(at.out))).toEqual(["out.merge-delta"]);
	});

	test("a folder that is no staging folder is left alone", async () => {
		const at = await place();
		const root = `${at.out}.merge-delta`;
		await mkdir(root);
		await writeFile(path.join(root, "mine"), "precious");
		await expect(Staging.open(at)).rejects.toThrow(OutputConflictError);
		expect(await readdir(root)).toEqual(["mine"]);
	});
});

test.runIf(process.platform === "linux")(
	"case 144: errors that Node does not know are told by their names all the same",
	() => {
		const told = (errno: number) => {
			const code = `Unknown system error ${-errno}`;
			const error = Object.assign(new Error(code), { code, errno: -errno });
			return (toLocalIoError(error, "here", "writing") as Error).message;
		};
		expect(told(osConstants.errno.EDQUOT)).toMatch(
			/^here: writing failed \(EDQUOT\)\. Your quota is used up/,
		);
		expect(told(117)).toBe("here: writing failed (E117)");
	},
);
