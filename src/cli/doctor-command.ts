import { doctor } from "../index.ts";
import { formatBytes, formatTable } from "./format.ts";
import type { Terminal } from "./terminal.ts";

export async function doctorCommand(terminal: Terminal): Promise<number> {
	const report = await doctor();
	const { system, kernels, folders, hub } = report;
	const cpu = `${system.cores} × ${system.cpu}`;
	terminal.result(`merge-delta ${report.version}, Node ${system.node}`);
	terminal.result(
		`${system.platform}, ${cpu}, ${formatBytes(system.memoryBytes)} of memory`,
	);
	const title = (text: string) =>
		terminal.result(`\n${terminal.paint("bold", text)}`);
	title("kernels");
	for (const { name, level, reason, isChosen } of kernels) {
		const state = reason === null ? (level ?? "runs") : `no: ${reason}`;
		terminal.result(
			`  ${name.padEnd(7)} ${state}${isChosen ? terminal.paint("green", "  (used)") : ""}`,
		);
	}
	title("folders");
	const rows = folders.map(({ path, purpose, freeBytes, directIo }) => [
		`  ${purpose}`,
		path,
		freeBytes === null ? "not there" : `${formatBytes(freeBytes)} free`,
		directIo === null ? "" : `direct I/O: ${directIo ? "yes" : "no"}`,
	]);
	for (const row of formatTable(rows)) terminal.result(row);
	title("Hugging Face, as the environment has it (nothing was asked)");
	for (const row of formatTable(
		hub.map(({ name, value }) => [`  ${name}`, value ?? "-"]),
	))
		terminal.result(row);
	terminal.document({ ok: true, ...report });
	return 0;
}
