import { createHash, createHmac, randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { fileReply, type Reply, textReply } from "./reply.ts";
import type { RepoFile } from "./repo.ts";

/** The object store behind the hub: files by addresses that are signed and expire. */
export class SignedUrls {
	private readonly secret = randomBytes(32);
	private readonly files = new Map<string, RepoFile>();
	private readonly lifeSeconds: number;
	private readonly origin: () => string;
	/** addresses of an earlier generation have expired */
	private generation = 0;

	/** @param origin of the store, known once it listens */
	constructor(origin: () => string, lifeSeconds: number) {
		this.origin = origin;
		this.lifeSeconds = lifeSeconds;
	}

	/** An address of a file that needs no token, for a while. */
	sign(repo: string, file: RepoFile): string {
		const key = file.lfs?.sha256 ?? file.blobId;
		this.files.set(key, file);
		const url = new URL(`/${repo}/${key}`, this.origin());
		const name = file.path.split("/").at(-1);
		const query = {
			"response-content-disposition": `inline; filename="${name}";`,
			Expires: String(Math.floor(Date.now() / 1000) + this.lifeSeconds),
			Policy: String(this.generation),
		};
		for (const [field, value] of Object.entries(query))
			url.searchParams.set(field, value);
		url.searchParams.set("Signature", this.signature(url));
		return url.href;
	}

	/** From now on no address that was given out is good any more. */
	expireAll(): void {
		this.generation++;
	}

	answer(request: IncomingMessage, url: URL): Reply {
		const asked = new URL(url);
		const given = asked.searchParams.get("Signature");
		asked.searchParams.delete("Signature");
		const key = url.pathname.split("/").at(-1) ?? "";
		const file = this.files.get(key);
		if (file === undefined || given !== this.signature(asked))
			return denied("SignatureDoesNotMatch", "The signature does not match");
		const late = Number(asked.searchParams.get("Expires")) * 1000 < Date.now();
		if (late || asked.searchParams.get("Policy") !== String(this.generation))
			return expiredUrl();
		// As stores do that take a signature or a header, but not both.
		if (request.headers.authorization !== undefined)
			return denied("InvalidArgument", "Only one auth mechanism allowed", 400);
		const etag = createHash("sha256").update(`store ${key}`).digest("hex");
		return fileReply(request, file.bytes, `"${etag}"`);
	}

	private signature(url: URL): string {
		const signed = url.pathname + url.search;
		return createHmac("sha256", this.secret).update(signed).digest("base64url");
	}
}

/** What the store says to an address that has expired. */
export function expiredUrl(): Reply {
	return denied("AccessDenied", "Request has expired");
}

function denied(code: string, message: string, status = 403): Reply {
	const xml = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`;
	return textReply(xml, status, "application/xml");
}
