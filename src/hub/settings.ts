import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import path from "node:path";
import { UsageError } from "../errors.ts";
import { systemErrorCode, toLocalIoError } from "../io/system-error.ts";
import { Connections } from "./connections.ts";
import { readProxies } from "./proxies.ts";
import { DEFAULT_RETRY, type RetryPolicy } from "./retry.ts";

/** What a caller may choose about the Hub; what is left out comes from the environment. */
export interface HubOptions {
	/** folder of the cache that is shared with the Python client */
	cacheDir?: string | undefined;
	/** null: none, whatever the environment says */
	token?: string | null | undefined;
	/** the Hub, or a mirror of it */
	endpoint?: string | undefined;
	/** use what the cache holds, and open no socket */
	offline?: boolean | undefined;
	retry?: Partial<RetryPolicy> | undefined;
	/** called when something takes longer than it should, such as a wait the Hub asks for */
	onNotice?: ((notice: string) => void) | undefined;
}

export interface HubSettings {
	/** without a slash at its end */
	endpoint: string;
	cacheDir: string;
	token: string | null;
	offline: boolean;
	/** false: files lie in snapshots themselves */
	symlinks: boolean;
	connections: Connections;
	/** until the headers of an answer about a repository */
	metadataTimeoutMs: number;
	/** until the headers, or the next bytes, of a file */
	downloadTimeoutMs: number;
	retry: RetryPolicy;
	onNotice: (notice: string) => void;
}

type Environment = Readonly<Record<string, string | undefined>>;

const PUBLIC_ENDPOINT = "https://huggingface.co";
/** Of the Python client. */
const DEFAULT_TIMEOUT_S = 10;

/**
 * Settings as the Python client reads them (huggingface_hub 2.0, `constants.py`), under the caller's options.
 * A variable that is empty counts as not set.
 *
 * @throws {UsageError} where endpoint, proxy or token cannot be used; no token or password is shown
 */
export async function readHubSettings(
	options: HubOptions = {},
	env: Environment = process.env,
): Promise<HubSettings> {
	const home = hubHome(env);
	return {
		endpoint: checkEndpoint(
			options.endpoint ?? (env.HF_ENDPOINT || PUBLIC_ENDPOINT),
		),
		cacheDir: path.resolve(
			options.cacheDir ??
				expand(
					env.HF_HUB_CACHE ||
						env.HUGGINGFACE_HUB_CACHE ||
						path.join(home, "hub"),
					env,
				),
		),
		token:
			options.token === undefined
				? await implicitToken(env, home)
				: checkToken(options.token, "token"),
		offline:
			options.offline ??
			(isTrue(env.HF_HUB_OFFLINE) || isTrue(env.TRANSFORMERS_OFFLINE)),
		symlinks: !isTrue(env.HF_HUB_DISABLE_SYMLINKS),
		connections: new Connections(readProxies(env)),
		metadataTimeoutMs: seconds(env.HF_HUB_ETAG_TIMEOUT) * 1000,
		downloadTimeoutMs: seconds(env.HF_HUB_DOWNLOAD_TIMEOUT) * 1000,
		retry: { ...DEFAULT_RETRY, ...options.retry },
		onNotice: options.onNotice ?? (() => {}),
	};
}

function hubHome(env: Environment): string {
	const caches = env.XDG_CACHE_HOME || path.join("~", ".cache");
	return expand(env.HF_HOME || path.join(caches, "huggingface"), env);
}

/** `~`, `$NAME` and `${NAME}`, as Python's `expandvars(expanduser(…))`: an unknown name stays as it is. */
function expand(text: string, env: Environment): string {
	const home = env.HOME || homedir();
	return text
		.replace(/^~(?=$|[/\\])/, () => home)
		.replace(
			/\$(?:(\w+)|\{([^}]*)\})/g,
			(whole, plain, braced) => env[plain ?? braced] ?? whole,
		);
}

async function implicitToken(
	env: Environment,
	home: string,
): Promise<string | null> {
	if (isTrue(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return null;
	for (const name of ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]) {
		const token = checkToken(env[name] ?? null, name);
		if (token !== null) return token;
	}
	const file = expand(env.HF_TOKEN_PATH || path.join(home, "token"), env);
	const text = await readFile(file, "utf8").catch((error) => {
		if (["ENOENT", "ENOTDIR"].includes(systemErrorCode(error) ?? ""))
			return null;
		throw toLocalIoError(error, file, "reading the token");
	});
	return checkToken(text, file);
}

/** @throws {UsageError} where it could not be sent; an error of the request itself would show it */
function checkToken(text: string | null, where: string): string | null {
	const token = text?.replace(/[\r\n]/g, "").trim() || null;
	if (token === null || /^[\x21-\x7e]+$/.test(token)) return token;
	throw new UsageError({
		where,
		what: "holds no token: it has blanks or other characters no token has",
		remedy: "Take a new one from https://huggingface.co/settings/tokens",
	});
}

function checkEndpoint(text: string): string {
	const url = URL.canParse(text) ? new URL(text) : null;
	const isPlain =
		url !== null &&
		/^https?:$/.test(url.protocol) &&
		`${url.username}${url.password}${url.search}${url.hash}` === "";
	if (isPlain) return text.replace(/\/+$/, "");
	throw new UsageError({
		where: "HF_ENDPOINT",
		what: "not the address of a Hub",
		expected: `an address such as ${PUBLIC_ENDPOINT}, without user, password or query`,
	});
}

function isTrue(text: string | undefined): boolean {
	return ["1", "ON", "YES", "TRUE"].includes(text?.toUpperCase() ?? "");
}

/** A whole number of seconds; what is none, or zero, is the default. */
function seconds(text: string | undefined): number {
	const value = /^\s*\d{1,6}\s*$/.test(text ?? "") ? Number(text) : 0;
	return value || DEFAULT_TIMEOUT_S;
}
