import { expect, test } from "vitest";
import { FormatError, MergeDeltaError } from "../src/errors.ts";

test("a message is one line: where, what, expected, found, what to do", () => {
	const error = new FormatError({
		where: "a.safetensors, byte 9",
		what: "not a colon",
		expected: '":"',
		found: '","',
		remedy: "Get the file again",
	});
	expect(error).toBeInstanceOf(MergeDeltaError);
	expect(error.code).toBe("ERR_FORMAT");
	expect(error.name).toBe("FormatError");
	expect(error.message).toBe(
		'a.safetensors, byte 9: not a colon, expected ":", found ",". Get the file again',
	);
});

test("text from files cannot steer what shows the message", () => {
	const { message } = new FormatError({
		where: "\u001b[2Jx\n::error::",
		what: "a\u202eb\u2028c\u0007",
	});
	expect(message).toBe("\\u{1b}[2Jx\\n::error::: a\\u{202e}b\\u{2028}c\\u{7}");
});
