/**
 * Look into a file that is copied whatever it holds, such as a config: what it says as JSON, or null where it is none.
 * Of a name that stands twice the last counts, as for those who will load it.
 */
export function parseLooseJson(bytes: Uint8Array): unknown {
	try {
		return JSON.parse(new TextDecoder().decode(bytes));
	} catch {
		return null;
	}
}

/** A member of an object that anybody may have written; undefined where there is none. */
export function memberOf(value: unknown, key: string): unknown {
	return value instanceof Object && Object.hasOwn(value, key)
		? (value as Record<string, unknown>)[key]
		: undefined;
}
