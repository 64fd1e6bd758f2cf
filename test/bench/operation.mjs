// Runs one operation of the built library in a process of its own: `merge` or `verify`, and its arguments
// as JSON. No TypeScript, whose loader would be measured with it.
import { report } from "./usage.mjs";

const [operation = "", ...args] = process.argv.slice(2);
const library = new URL("../../dist/src/index.js", import.meta.url).href;
const { [operation]: run } = await import(library);
await report(() => run(...args.map((text) => JSON.parse(text))));
