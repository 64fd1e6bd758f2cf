/** Something that goes wrong with an answer. Counts are of the body's bytes, unless said otherwise. */
export type Fault = AnswerFault | WireFault;

/** The answer is whole, but says what it should not. */
export type AnswerFault =
	/** nothing: so that a later request is the one that fails */
	| { kind: "pass" }
	/** another status, with the body of an error; `headers` besides */
	| {
			kind: "status";
			status: number;
			headers?: Record<string, string>;
			body?: string;
	  }
	/** 429; `retryAfter` is seconds or a date, `seconds` is for the hub's own `RateLimit` */
	| { kind: "rate-limited"; retryAfter?: string; seconds?: number }
	/** headers are set, or left out where null; an array is a line each, a function is given the right value */
	| { kind: "headers"; set: Record<string, HeaderChange> }
	/** no header tells what the hub knows of the file, as with a mirror */
	| { kind: "mirror" }
	/** 200 and the whole file */
	| { kind: "ignore-range" }
	/** 206 of a range that begins `shift` bytes later, and says so in Content-Range unless `lying` */
	| { kind: "other-range"; shift: number; lying?: boolean }
	/** 206 as multipart/byteranges */
	| { kind: "multipart" }
	/** 416; Content-Range is `bytes *` and the size unless given, left out where null */
	| { kind: "range-not-satisfiable"; contentRange?: string | null }
	/** a compressed body that nobody asked for; cut to `keep` compressed bytes, with a length that agrees */
	| { kind: "gzip"; keep?: number }
	/** the lowest bit of the file's byte `at` is another */
	| { kind: "bit-flip"; at: number }
	/** 200 with a page for people, of the right length where `sameLength` */
	| { kind: "html"; sameLength?: boolean }
	/** elsewhere, 302 unless said; to its own address without `to` */
	| { kind: "redirect"; to?: string; status?: number }
	/** 403 of a signed address whose time is over */
	| { kind: "expired-url" }
	/** only this many bytes of the body, with a length that agrees */
	| { kind: "truncate"; bytes: number };

/** The answer does not arrive as it is. */
export type WireFault =
	/** the connection is reset after that many bytes, before any header without a number */
	| { kind: "reset"; afterBytes?: number }
	/** the connection is closed after that many bytes, before any header without a number; length framing unless said */
	| {
			kind: "fin";
			afterBytes?: number;
			framing?: "length" | "close" | "chunked";
	  }
	/** zeros follow the body; Content-Length counts them where `declared` */
	| { kind: "excess"; bytes: number; declared?: boolean }
	/** packets of `bytes` each, `everyMs` apart, else as fast as they go */
	| { kind: "packets"; bytes: number; everyMs?: number }
	/** the request is read and nothing is ever said */
	| { kind: "black-hole" }
	/** after that many bytes nothing more comes, and the connection stays */
	| { kind: "stall"; afterBytes: number }
	/** a header of that many bytes */
	| { kind: "oversize-headers"; bytes: number };

export type HeaderChange =
	| string
	| string[]
	| null
	| ((right: string) => string);

const WIRE_FAULTS: Record<WireFault["kind"], true> = {
	reset: true,
	fin: true,
	excess: true,
	packets: true,
	"black-hole": true,
	stall: true,
	"oversize-headers": true,
};

export function isWireFault(fault: Fault): fault is WireFault {
	return fault.kind in WIRE_FAULTS;
}

/** Which requests fail, how, and how often still. */
export class FaultScript {
	private readonly lines: {
		pattern: RegExp;
		fault: Fault;
		timesLeft: number;
	}[] = [];

	/** @param pattern of the method and the whole address: `GET http://…` */
	add(pattern: RegExp, fault: Fault, times: number): void {
		this.lines.push({ pattern, fault, timesLeft: times });
	}

	/** The first fault that is written for a request and not used up. */
	take(method: string, url: string): Fault {
		for (const line of this.lines) {
			if (line.timesLeft < 1 || `${method} ${url}`.search(line.pattern) < 0)
				continue;
			line.timesLeft--;
			return line.fault;
		}
		return { kind: "pass" };
	}
}
