import { SourceChangedError } from "../errors.ts";
import { describeSubject, type Subject } from "./refusal.ts";
import type { RemoteFile } from "./repository.ts";
import { type Answer, ask } from "./request.ts";
import { PassingFailure, Patience } from "./retry.ts";
import type { HubSettings } from "./settings.ts";

/** Slower than this over a whole window counts as standing still. */
const SLOWEST_BYTES_PER_S = 1024;
const SLOW_WINDOW_MS = 30_000;

/**
 * The bytes `[begin, end)` of a file, in order, in pieces as they come. Connects anew at the exact byte whenever
 * the connection breaks; each time by the Hub's own address, so that a signature that ran out is renewed.
 *
 * @throws {NetworkError} after several failures with nothing between them
 * @throws {SourceChangedError} where the file is not the one that was listed
 * @throws {InterruptedError}
 */
export async function* readRange(
	settings: HubSettings,
	file: RemoteFile,
	begin: number,
	end: number,
	signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
	if (!(0 <= begin && begin <= end && end <= file.byteLength))
		throw new RangeError(`${file.path}: [${begin}, ${end}) is not in the file`);
	const patience = new Patience(settings, signal);
	const range = { at: begin, end, etag: null as string | null };
	while (range.at < end) {
		const { at } = range;
		try {
			for await (const bytes of readOnce(settings, file, range, signal)) {
				range.at += bytes.length;
				yield bytes;
			}
		} catch (error) {
			await patience.after(explain(error, file), range.at > at);
		}
	}
}

/** The Hub's servers need not give more than this but in pieces of their own (Xet), which are not asked for here. */
const MOST_PLAIN_BYTES = 50e9;

/** Say what may be behind the failures of a file that is too long for plain HTTP. */
function explain(error: unknown, { byteLength }: RemoteFile): unknown {
	if (!(error instanceof PassingFailure) || byteLength <= MOST_PLAIN_BYTES)
		return error;
	const { fault, waitMs, isCrawl } = error;
	const remedy =
		"A file of more than 50 GB may be kept for Xet alone, which is not spoken here: fetch it with the Python client (pip install hf_xet), whose cache is the same";
	return new PassingFailure({ ...fault, remedy }, waitMs, isCrawl);
}

/** What of a file is still to come; `etag` is that of the earlier answers, where it is a strong one. */
interface Rest {
	at: number;
	readonly end: number;
	etag: string | null;
}

/** The bytes of one answer. @throws {PassingFailure} where it ends before they are all there */
async function* readOnce(
	settings: HubSettings,
	file: RemoteFile,
	rest: Rest,
	signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
	const { at, end } = rest; // it grows while bytes are taken
	const { downloadTimeoutMs: timeoutMs } = settings;
	const subject = subjectOf(file);
	const answer = await ask(settings, {
		...{ url: addressOf(settings, file), subject, timeoutMs, signal },
		headers: {
			range: `bytes=${at}-${end - 1}`,
			...(rest.etag === null ? {} : { "if-range": rest.etag }),
		},
		also: [416],
	});
	try {
		let [skip, left] = [checkAnswer(answer, file, rest), end - at];
		for await (const bytes of pieces(answer, timeoutMs, subject)) {
			const fresh = bytes.subarray(Math.min(skip, bytes.length));
			skip -= bytes.length - fresh.length;
			const wanted = fresh.subarray(0, left);
			left -= wanted.length;
			if (wanted.length > 0) yield wanted;
			if (wanted.length < fresh.length) return; // of 200, or of a server that cannot count
		}
		if (left > 0) throw passing(subject, "the answer ended early");
	} finally {
		answer.close();
	}
}

/** Pieces of the body. @throws {PassingFailure} where they come too slowly, the time of whoever takes them not counted */
async function* pieces(
	answer: Answer,
	timeoutMs: number,
	subject: Subject,
): AsyncGenerator<Uint8Array> {
	let [waitedMs, byteLength] = [0, 0];
	for (;;) {
		const began = performance.now();
		const bytes = await answer.read(timeoutMs);
		if (bytes === null) return;
		waitedMs += performance.now() - began;
		byteLength += bytes.length;
		yield bytes;
		if (waitedMs < SLOW_WINDOW_MS) continue;
		if (byteLength < (SLOWEST_BYTES_PER_S * waitedMs) / 1000)
			throw passing(
				subject,
				`less than ${SLOWEST_BYTES_PER_S} bytes a second`,
				true,
			);
		[waitedMs, byteLength] = [0, 0];
	}
}

/**
 * Make sure that an answer holds what was asked for.
 *
 * @returns how many bytes at its start are not wanted
 */
function checkAnswer(
	{ response: { status, headers } }: Answer,
	file: RemoteFile,
	rest: Rest,
): number {
	const subject = subjectOf(file);
	const encoding = headers.get("content-encoding") ?? "identity";
	if (encoding !== "identity")
		throw passing(subject, `the answer is encoded (${encoding})`);
	const etag = strongTag(headers);
	const isOther = rest.etag !== null && etag !== null && etag !== rest.etag;
	if (isOther) throw changed(subject, "its ETag is another");
	const [begin, end] = rangeOf(status, headers, file, subject);
	if (status === 206 && (begin !== rest.at || end !== rest.end))
		throw passing(
			subject,
			`bytes ${begin}-${end - 1} came, not ${rest.at}-${rest.end - 1}`,
		);
	const length = headers.get("content-length");
	if (length !== null && Number(length) !== end - begin)
		throw passing(
			subject,
			`the answer has ${length} bytes, not ${end - begin}`,
		);
	rest.etag = etag;
	return rest.at - begin;
}

/** The ETag, where equal tags mean equal bytes; else null. */
function strongTag(headers: Headers): string | null {
	const etag = headers.get("etag");
	return etag !== null && /^"[^"]*"$/.test(etag) ? etag : null;
}

/** The bytes `[begin, end)` that an answer says it holds. */
function rangeOf(
	status: number,
	headers: Headers,
	file: RemoteFile,
	subject: Subject,
): [begin: number, end: number] {
	const text = headers.get("content-range");
	if (status === 200 && text === null) return [0, file.byteLength];
	const [, begin, last, total] =
		/^bytes (?:(\d+)-(\d+)|\*)\/(\d+)$/.exec(text?.trim() ?? "") ?? [];
	if (total !== undefined && Number(total) !== file.byteLength)
		throw changed(subject, `it has ${total} bytes, not ${file.byteLength}`);
	if (status === 206 && begin !== undefined)
		return [Number(begin), Number(last) + 1];
	throw passing(
		subject,
		`the answer (${status}) does not tell which bytes it holds`,
	);
}

function addressOf({ endpoint }: HubSettings, file: RemoteFile): string {
	const path = file.path.split("/").map(encodeURIComponent).join("/");
	return `${endpoint}/${file.repository}/resolve/${file.commit}/${path}`;
}

function subjectOf({ repository, commit, path }: RemoteFile): Subject {
	return { repository, revision: commit, path };
}

function passing(
	subject: Subject,
	what: string,
	isCrawl = false,
): PassingFailure {
	const where = describeSubject(subject);
	return new PassingFailure({ where, what }, null, isCrawl);
}

function changed(subject: Subject, what: string): SourceChangedError {
	return new SourceChangedError({
		where: describeSubject(subject),
		what: `the file is not the one that was listed: ${what}`,
		remedy: "Run the same command again",
	});
}
