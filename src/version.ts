import { createRequire } from "node:module";

/** Of this package, as its package.json says. */
export const VERSION: string = createRequire(import.meta.url)(
	"#package",
).version;
