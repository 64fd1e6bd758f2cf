import { startLocalHub } from "./local-hub.ts";
import { filesOfFolder } from "./stored-bytes.ts";

/** Serve a folder as a repository until interrupted: `tsx test/hub/serve.ts <folder> [owner/name] [port]`. */
const [folder, repo = "local/model", port = "0"] = process.argv.slice(2);
if (folder === undefined) throw new Error("Which folder?");
const hub = await startLocalHub({
	repos: { [repo]: { files: await filesOfFolder(folder) } },
	port: Number(port),
});
process.stdout.write(
	`HF_ENDPOINT=${hub.endpoint}  ${repo}@${hub.commitOf(repo)}\n`,
);
process.once("SIGINT", () => hub.close());
process.once("SIGTERM", () => hub.close());
