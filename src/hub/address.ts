import { BlockList, isIP } from "node:net";

/** Networks that a public server has no business to send anybody to (RFC 6890 and its kin). */
const PRIVATE = new BlockList();
for (const [network, prefix] of [
	...([
		["0.0.0.0", 8],
		["10.0.0.0", 8],
		["100.64.0.0", 10],
		["127.0.0.0", 8],
		["169.254.0.0", 16], // clouds keep their keys there
		["172.16.0.0", 12],
		["192.168.0.0", 16],
	] as const),
])
	PRIVATE.addSubnet(network, prefix, "ipv4");
for (const [network, prefix] of [
	["::", 127],
	["64:ff9b:1::", 48],
	["fc00::", 7],
	["fe80::", 10],
] as const)
	PRIVATE.addSubnet(network, prefix, "ipv6");

/** Whether a URL's host is this machine or one of a private network, as far as its name tells. */
export function isPrivateHost({ hostname }: URL): boolean {
	const host = hostname.replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "");
	const version = isIP(host);
	if (version !== 0)
		return PRIVATE.check(host, version === 4 ? "ipv4" : "ipv6");
	return !host.includes(".") || /\.(localhost|local|internal)$/i.test(host);
}

/** A URL for messages: without its query, which may hold a signature; of another server, its name alone. */
export function describeUrl(url: URL, endpoint: string): string {
	return url.origin === new URL(endpoint).origin
		? `${url.origin}${url.pathname}`
		: url.origin;
}
