import path from "node:path";
import type { MergePlan } from "../../../src/delta/plan.ts";
import { Content, type Nodes } from "./disk.ts";
import type { Operation, SimFs } from "./sim-fs.ts";
import { OUT } from "./tiny-merge.ts";

/**
 * Watch a run for what must never be, whether or not a crash comes: a file that is renamed and a folder that is
 * published before they are durable, and a claim of bytes that are not.
 *
 * @param wrong  gets a line for each
 */
export function watchOrder(plan: MergePlan, wrong: string[]) {
	return (operation: Operation, sim: SimFs, bytes?: Uint8Array): void => {
		const { what, file, to } = operation;
		if (what === "rename") {
			const node = sim.find(file);
			if (node === null) return;
			if (sim.nodes.get(node) instanceof Content && sim.pending.holds(node))
				wrong.push(`${file} is renamed and not synced`);
			if (to === OUT && file.includes("merged."))
				for (const each of nodesBelow(sim.nodes, node))
					if (sim.pending.holds(each)) wrong.push(`${to} is not synced`);
		}
		const name = path.basename(file);
		if (what === "write" && bytes && /^journal(\.tmp)?$/.test(name))
			for (const claim of claimsIn(bytes)) {
				const of = plan.shards[claim.shardIndex]?.fileName ?? "";
				if (!isDurable(sim, path.dirname(file), of, claim.byteLength))
					wrong.push(
						`${claim.byteLength} bytes of ${of} are claimed too early`,
					);
			}
	};
}

function claimsIn(
	bytes: Uint8Array,
): { shardIndex: number; byteLength: number }[] {
	const lines = Buffer.from(bytes).toString("utf8").split("\n");
	return lines
		.filter((line) => line !== "")
		.map((line) => JSON.parse(line.slice(65)));
}

function isDurable(
	sim: SimFs,
	root: string,
	fileName: string,
	byteLength: number,
): boolean {
	const [merged = ""] = [...sim.foldersIn(root)];
	const files = [fileName, `${fileName}.merge-delta-part`]
		.map((name) => sim.find(path.join(root, merged, name)))
		.filter((node) => node !== null);
	return files.some((node) => {
		const content = sim.nodes.get(node);
		return (
			content instanceof Content &&
			content.bytes.length >= byteLength &&
			!sim.pending.holds(node, byteLength)
		);
	});
}

function nodesBelow(nodes: Nodes, node: number): number[] {
	const names = nodes.get(node);
	if (names === undefined || names instanceof Content) return [node];
	return [
		node,
		...[...names.values()].flatMap((each) => nodesBelow(nodes, each)),
	];
}
