import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { FileListing } from "../../src/checkpoint/open-files.ts";
import {
	BYTE_SCHEMES,
	type ByteScheme,
	type ByteSchemeId,
} from "../../src/delta/byte-schemes.ts";
import {
	becomesWeights,
	schemeOfNames,
	sharedWeights,
	xorFolders,
} from "../../src/delta/choose-scheme.ts";
import { INPUT, type MergePlan, type Span } from "../../src/delta/plan.ts";
import { planBytes } from "../../src/delta/plan-bytes.ts";
import { FormatError, MismatchError } from "../../src/errors.ts";
import { openBuddyDecrypt, pointDecrypt, xorCodec } from "./byte-scripts.ts";

type Files = Record<string, Uint8Array>;

function listing(location: string, files: Files): FileListing {
	return {
		...{ location, isFolder: true },
		files: Object.entries(files).map(([fileName, bytes]) => ({
			fileName,
			byteLength: bytes.length,
			start: bytes.subarray(0, 64),
		})),
	};
}

const sha256 = (bytes: Uint8Array) =>
	createHash("sha256").update(bytes).digest();
const text = (content: string) => new TextEncoder().encode(content);

/** The scheme with another length of its chunks. */
function scaled(id: ByteSchemeId, bytes: number): ByteScheme {
	const scheme: ByteScheme = BYTE_SCHEMES[id];
	if (scheme.key.kind === "same name") return scheme;
	const keyBytes = scheme.key.keyBytes === null ? null : bytes;
	return { ...scheme, key: { ...scheme.key, chunkBytes: bytes, keyBytes } };
}

function plan(
	base: Files,
	delta: Files,
	id: ByteSchemeId,
	scheme: ByteScheme = BYTE_SCHEMES[id],
) {
	return planBytes(listing("base", base), listing("delta", delta), id, {
		...{ reserved: ["SHA256SUMS"], scheme },
	});
}

/** Carry out a plan in memory, and see that its segments tile each file. */
function carryOut({ inputs, shards }: MergePlan, base: Files, delta: Files) {
	const bytesOf = ({ input, shard, fileOffset, byteLength }: Span) => {
		const name = inputs[input]?.shards[shard]?.fileName ?? "";
		const file = (input === INPUT.base ? base : delta)[name] as Uint8Array;
		const bytes = file.slice(fileOffset, fileOffset + byteLength);
		expect(bytes.length).toBe(byteLength);
		return bytes;
	};
	return Object.fromEntries(
		shards.map(({ fileName, byteLength, segments }) => {
			const out = new Uint8Array(byteLength);
			let end = 0;
			for (const segment of segments) {
				expect(segment.fileOffset).toBe(end);
				expect(segment.byteLength).toBeGreaterThan(0);
				end += segment.byteLength;
				if (segment.op === "copy")
					out.set(bytesOf(segment.from), segment.fileOffset);
				else if (segment.op === "xor") {
					const key = bytesOf(segment.base);
					const made = bytesOf(segment.delta).map(
						(byte, i) => byte ^ (key[i] as number),
					);
					out.set(made, segment.fileOffset);
				} else throw new Error(`${segment.op} is no work for bytes`);
			}
			expect(end).toBe(byteLength);
			return [fileName, out];
		}),
	);
}

const bytes = (maxLength: number, minLength = 0) =>
	fc.uint8Array({ minLength, maxLength });
const NO_BYTES = sha256(new Uint8Array()).toString("hex");

describe("gives what the publisher's script gives", () => {
	test("xor, for a base that is shorter or longer", () => {
		fc.assert(
			fc.property(bytes(40), bytes(40), (payload, key) => {
				const delta = { a: payload, "added_tokens.json": text("{}") };
				const out = carryOut(
					plan({ a: key }, delta, "xor").plan,
					{ a: key },
					delta,
				);
				expect(out).toEqual({
					a: xorCodec(payload, key, 16),
					"added_tokens.json": text("{}"),
				});
			}),
		);
	});

	test("point-xor, for keys that end within a file and within a chunk", () => {
		fc.assert(
			fc.property(
				bytes(90),
				bytes(40, 1),
				fc.integer({ min: 1, max: 16 }),
				(encoded, key, chunk) => {
					const plain = pointDecrypt(encoded, key, chunk);
					const hash = sha256(plain);
					const delta = {
						[`a.b.${hash.toString("hex")}.enc`]: Buffer.concat([hash, encoded]),
						"README.md": text("read me"),
					};
					const base = { "consolidated.00.pth": key };
					const { plan: planned, warnings } = plan(
						base,
						delta,
						"point-xor",
						scaled("point-xor", chunk),
					);
					expect(carryOut(planned, base, delta)).toEqual({
						"a.b": plain,
						"README.md": text("read me"),
					});
					expect(planned.shards.map((shard) => shard.sha256)).toEqual([
						hash.toString("hex"),
						null,
					]);
					expect(warnings).toEqual([]);
				},
			),
		);
	});

	test("techgpt, which has no header", () => {
		fc.assert(
			fc.property(bytes(90), bytes(40, 1), (encoded, key) => {
				const delta = { [`a.bin.${NO_BYTES}.enc`]: encoded };
				const base = { "consolidated.00.pth": key };
				const { plan: planned, warnings } = plan(
					base,
					delta,
					"techgpt",
					scaled("techgpt", 7),
				);
				expect(carryOut(planned, base, delta)).toEqual({
					"a.bin": pointDecrypt(encoded, key, 7),
				});
				expect(planned.shards[0]?.sha256).toBeNull();
				expect(warnings.join()).toContain("no checksum of its results");
			}),
		);
	});

	test("openbuddy, which begins the key anew with each block", () => {
		fc.assert(
			fc.property(bytes(90), bytes(40, 12), (encoded, key) => {
				const delta = { "a.bin.enc": encoded, "config.json": text("{}") };
				const base = { "consolidated.00.pth": key };
				const { plan: planned } = plan(
					base,
					delta,
					"openbuddy",
					scaled("openbuddy", 12),
				);
				expect(carryOut(planned, base, delta)).toEqual({
					"a.bin": openBuddyDecrypt(encoded, key, 12),
					"config.json": text("{}"),
				});
			}),
		);
	});
});

test("the key is read in as few stretches as can be", () => {
	const [key, encoded] = [new Uint8Array(23), new Uint8Array(60)];
	const { plan: planned } = plan(
		{ "consolidated.00.pth": key },
		{ [`a.${NO_BYTES}.enc`]: encoded },
		"techgpt",
		scaled("techgpt", 10),
	);
	expect(
		planned.shards[0]?.segments.map(
			(s) => s.op === "xor" && [s.base.fileOffset, s.byteLength],
		),
	).toEqual([
		...[
			[0, 23],
			[20, 3],
			[20, 3],
			[20, 1],
		],
		...[
			[0, 23],
			[20, 3],
			[20, 3],
			[20, 1],
		],
	]);
});

/** The refusal of a plan. */
function refusal(make: () => unknown): FormatError | MismatchError {
	try {
		make();
	} catch (error) {
		if (error instanceof FormatError || error instanceof MismatchError)
			return error;
		throw error;
	}
	throw new Error("nothing was refused");
}

describe("refuses", () => {
	const key = { "consolidated.00.pth": new Uint8Array(64) };
	const hash = sha256(text("plain"));
	const hex = hash.toString("hex");

	test("payloads of xor whose base is not there, all of them named", () => {
		const files = { a: text("1"), b: text("2"), c: text("3") };
		const error = refusal(() => plan({ b: text("2") }, files, "xor"));
		expect(error).toBeInstanceOf(MismatchError);
		expect(error.fault.details).toEqual(["a", "c"]);
	});

	test("a header that is not the name's checksum", () => {
		const other = sha256(text("other"));
		const error = refusal(() =>
			plan(key, { [`a.${hex}.enc`]: other }, "point-xor"),
		);
		expect(error).toBeInstanceOf(FormatError);
		expect(error.fault.expected).toBe(hex);
		expect(error.fault.found).toBe(other.toString("hex"));
	});

	test("a file too short for its header", () => {
		const error = refusal(() =>
			plan(key, { [`a.${hex}.enc`]: hash.subarray(0, 31) }, "point-xor"),
		);
		expect(error).toBeInstanceOf(FormatError);
		expect(error.fault.found).toBe("31 bytes");
	});

	test.each([
		["point-xor", "a.enc", "openbuddy"],
		["point-xor", `a.${hex.toUpperCase()}.enc`, "openbuddy"],
		["openbuddy", `a.${hex}.enc`, "point-xor"],
		["techgpt", `a.${hex}.enc`, "point-xor"],
		["openbuddy", `a.${NO_BYTES}.enc`, "techgpt"],
	] as const)("%s: a file named %s, and names %s", (id, fileName, other) => {
		const error = refusal(() => plan(key, { [fileName]: hash }, id));
		expect(error).toBeInstanceOf(MismatchError);
		expect(error.message).toContain(`--convention ${other}`);
	});

	test("a delta without anything to decode", () => {
		const delta = { "config.json": text("{}") };
		for (const id of ["point-xor", "techgpt", "openbuddy"] as const)
			expect(refusal(() => plan(key, delta, id)).message).toContain(
				`no file that ${id} decodes`,
			);
	});

	test("two files that would become one", () => {
		const error = refusal(() =>
			plan(key, { a: hash, [`a.${hex}.enc`]: hash }, "point-xor"),
		);
		expect(error).toBeInstanceOf(FormatError);
		expect(error.fault.found).toBe(`a and a.${hex}.enc`);
	});

	test.each([
		["version https://git-lfs.github.com/spec/v1", "Git LFS pointer"],
		["<!doctype html>", "web page"],
	])("an xor payload that is %s", (content, is) => {
		const error = refusal(() =>
			plan({ a: text("a") }, { a: text(content) }, "xor"),
		);
		expect(error).toBeInstanceOf(FormatError);
		expect(error.fault.found).toContain(is);
	});

	test("no payload that begins as gzip data by chance", () => {
		const delta = { a: Uint8Array.from([0x1f, 0x8b, 8]) };
		expect(plan({ a: text("a") }, delta, "xor").plan.shards).toHaveLength(1);
	});

	test("a key that is empty, absent, or too short", () => {
		const delta = { [`a.${NO_BYTES}.enc`]: new Uint8Array(300_000) };
		const short = (byteLength: number) =>
			refusal(() =>
				plan(
					{ "consolidated.00.pth": new Uint8Array(byteLength) },
					delta,
					"techgpt",
				),
			).message;
		expect(short(0)).toContain("the key is too short");
		expect(short(2)).toContain("the key is too short");
		expect(refusal(() => plan({}, delta, "techgpt")).message).toContain(
			"no consolidated.00.pth",
		);
		expect(
			refusal(() => plan(key, { "a.enc": new Uint8Array(65) }, "openbuddy"))
				.message,
		).toContain("the key is too short");
		const enough = { "a.enc": new Uint8Array(64) };
		expect(plan(key, enough, "openbuddy").plan.shards).toHaveLength(1);
	});
});

test("files the output has of its own are left out, and that is said", () => {
	const delta = { a: text("1"), SHA256SUMS: text("2") };
	const { plan: planned, warnings } = plan({ a: text("2") }, delta, "xor");
	expect(planned.shards.map(({ fileName }) => fileName)).toEqual(["a"]);
	expect(warnings[0]).toContain("SHA256SUMS is left out");
});

test("a bare file is the key, whatever it is called", () => {
	const base = { ...listing("k", { k: text("k") }), isFolder: false };
	const delta = listing("d", { [`a.${NO_BYTES}.enc`]: text("abc") });
	const { plan: planned } = planBytes(base, delta, "techgpt", { reserved: [] });
	expect(planned.inputs[0]?.shards).toEqual([{ fileName: "k", byteLength: 1 }]);
});

describe("from names", () => {
	const hex = sha256(text("plain")).toString("hex");

	test.each([
		[[], null],
		[["a.bin", "b.safetensors"], null],
		[["a.enc"], "openbuddy"],
		[["config.json", `a.${hex}.enc`, "training_args.bin"], "point-xor"],
		[[`a.${NO_BYTES}.enc`], "techgpt"],
		[[`a.${NO_BYTES}.enc`, `b.${hex}.enc`], "point-xor"],
		[["a.enc", `b.${hex}.enc`], "point-xor"],
		[["a.enc", "b.safetensors"], null],
	])("%j → %s", (names, id) => {
		expect(schemeOfNames(names)).toBe(id);
	});

	test("folders of payloads, beside no weights", () => {
		const folders = ["a", "oasst-sft-6-llama-30b-xor", "xor_encoded_files"];
		expect(xorFolders(["README.md"], folders)).toEqual(folders.slice(1));
		expect(xorFolders(["pytorch_model.bin"], folders)).toEqual([]);
	});

	test("weights that both have", () => {
		expect(
			sharedWeights(["a.bin", "c.json"], ["a.bin", "b.bin", "c.json"]),
		).toEqual(["a.bin"]);
	});
});

test("bytes become weights by the base's, or are no payload", () => {
	const begin = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"));
	const zip = begin("504b03040000000000");
	const pickle = begin("80025d71002e000000");
	const tensors = begin("80010000000000007b");
	const zeros = begin("000000000000000000");
	for (const weights of [zip, pickle, tensors]) {
		expect(becomesWeights(weights, zeros)).toBe(true);
		expect(becomesWeights(weights, weights)).toBe(false);
		expect(becomesWeights(zeros, weights)).toBe(false);
		expect(becomesWeights(weights, begin("01ff00000000000001"))).toBe(false);
		expect(becomesWeights(weights, begin(""))).toBe(false);
	}
});
