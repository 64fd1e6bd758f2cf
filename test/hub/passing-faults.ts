import type { Fault } from "./faults.ts";

/**
 * What may go wrong with an answer and is over when it is asked for again, each with its case.
 *
 * @param size  bytes of the shortest file that meets it
 */
export function passingFaults(size: number): [string, Fault][] {
	const middle = Math.floor(size / 2);
	return [
		["case 175: a reset before any header", { kind: "reset" }],
		[
			"case 175: a reset before the first byte",
			{ kind: "reset", afterBytes: 0 },
		],
		[
			"case 175: a reset after the first byte",
			{ kind: "reset", afterBytes: 1 },
		],
		[
			"case 175: a reset in the middle",
			{ kind: "reset", afterBytes: middle + 1 },
		],
		[
			"case 175: a reset before the last byte",
			{ kind: "reset", afterBytes: size - 1 },
		],
		["case 176: an end before any header", { kind: "fin" }],
		["case 176: an early end", { kind: "fin", afterBytes: middle }],
		[
			"case 177: an early end of no declared length",
			{ kind: "fin", afterBytes: middle, framing: "close" },
		],
		[
			"case 178: an early end of chunks",
			{ kind: "fin", afterBytes: middle, framing: "chunked" },
		],
		[
			"case 180: a short body with a length that agrees",
			{ kind: "truncate", bytes: middle },
		],
		["case 174: silence", { kind: "black-hole" }],
		["case 174: silence in the middle", { kind: "stall", afterBytes: middle }],
		["packets of 999 bytes", { kind: "packets", bytes: 999 }],
		["case 179: bytes behind the end", { kind: "excess", bytes: 10 }],
		[
			"case 179: declared bytes behind the end",
			{ kind: "excess", bytes: 10, declared: true },
		],
		["case 191: 500", { kind: "status", status: 500 }],
		["case 191: 408", { kind: "status", status: 408 }],
		[
			"case 191: 503 with a wait",
			{ kind: "status", status: 503, headers: { "Retry-After": "0" } },
		],
		["case 190: 429", { kind: "rate-limited", retryAfter: "0" }],
		["case 195: an address that has expired", { kind: "expired-url" }],
		["case 181: another range", { kind: "other-range", shift: 5 }],
		["case 181: an earlier range", { kind: "other-range", shift: -5 }],
		[
			"case 182: no Content-Range",
			{ kind: "headers", set: { "Content-Range": null } },
		],
		[
			"case 182: a malformed Content-Range",
			{ kind: "headers", set: { "Content-Range": "bytes 0-/x" } },
		],
		["case 182: several ranges", { kind: "multipart" }],
		["case 185: 416", { kind: "range-not-satisfiable" }],
		[
			"case 185: 416 that tells nothing",
			{ kind: "range-not-satisfiable", contentRange: null },
		],
		["case 188: gzip", { kind: "gzip" }],
		["case 188: cut gzip", { kind: "gzip", keep: middle / 50 }],
		["case 184: a page for people", { kind: "html" }],
		[
			"case 180: a wrong Content-Length",
			{ kind: "headers", set: { "Content-Length": "-5" } },
		],
		[
			"case 180: two Content-Lengths",
			{ kind: "headers", set: { "Content-Length": [String(size), "7"] } },
		],
		[
			"case 180: a length and chunks",
			{ kind: "headers", set: { "Transfer-Encoding": "chunked" } },
		],
		["too long headers", { kind: "oversize-headers", bytes: 40_000 }],
		["case 194: a redirect of the store to itself", { kind: "redirect" }],
	];
}
