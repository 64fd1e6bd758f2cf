import { expect, test } from "vitest";
import { memberOf, parseLooseJson } from "../../src/format/loose-json.ts";

const parse = (text: string) => parseLooseJson(Buffer.from(text));

test("JSON is what it says, anything else nothing", () => {
	expect(parse('{"a":1,"a":2}')).toEqual({ a: 2 });
	for (const text of ["", "{", "\ufeff\0", "{'a':1}"])
		expect(parse(text)).toBe(null);
	const deep = 100_000;
	expect(Array.isArray(parse("[".repeat(deep) + "]".repeat(deep)))).toBe(true);
});

test("only what a file says itself is a member of it", () => {
	expect(memberOf(parse('{"a":1}'), "a")).toBe(1);
	expect(memberOf(parse('{"__proto__":{"a":1}}'), "a")).toBeUndefined();
	for (const text of ["{}", "[]", "null", "1", '"toString"'])
		expect(memberOf(parse(text), "toString")).toBeUndefined();
});
