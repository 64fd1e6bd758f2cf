import { constants } from "node:fs";
import { mkdtemp, open, rm } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir, totalmem } from "node:os";
import path from "node:path";
import { isLocalDisk, OpenFile } from "./io/direct-io.ts";
import { freeBytesOf } from "./io/disk-space.ts";
import { KERNEL_NAMES, type KernelName } from "./kernel/kernel.ts";
import { openNativeKernel } from "./kernel/native.ts";
import { chooseKernel, whyNot } from "./kernel/select.ts";
import { VERSION } from "./version.ts";

/** What this machine offers to a merge. */
export interface DoctorReport {
	version: string;
	system: {
		node: string;
		platform: string;
		cpu: string;
		cores: number;
		memoryBytes: number;
	};
	/** `reason`: why it does not run, or null; `level`: the instructions it uses, where it has a choice */
	kernels: {
		name: KernelName;
		reason: string | null;
		level: string | null;
		isChosen: boolean;
	}[];
	/** `directIo`: whether files there can bypass the page cache; null where that could not be tried */
	folders: {
		purpose: string;
		path: string;
		freeBytes: number | null;
		directIo: boolean | null;
	}[];
	/** settings that will be read to reach the Hub; a token is only said to be there */
	hub: { name: string; value: string | null }[];
}

const HUB_VARIABLES = [
	...["HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE"],
	...["HF_TOKEN", "HF_TOKEN_PATH", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"],
];

/** Look at the machine, without touching the network. */
export async function doctor(): Promise<DoctorReport> {
	const chosen = chooseKernel("auto");
	return {
		version: VERSION,
		system: {
			node: process.versions.node,
			platform: `${process.platform} ${process.arch}`,
			cpu: cpus()[0]?.model.trim() ?? "unknown",
			cores: availableParallelism(),
			memoryBytes: totalmem(),
		},
		kernels: KERNEL_NAMES.map((name) => {
			const reason = whyNot(name);
			const level =
				name === "native" && reason === null ? openNativeKernel().level : null;
			return { name, reason, level, isChosen: name === chosen };
		}),
		folders: [
			await lookAtFolder("here", process.cwd()),
			await lookAtFolder("temporary", tmpdir()),
		],
		hub: HUB_VARIABLES.map((name) => ({ name, value: settingOf(name) })),
	};
}

function settingOf(name: string): string | null {
	const value = process.env[name] ?? process.env[name.toLowerCase()];
	if (!value) return null;
	if (name === "HF_TOKEN") return "set";
	return value.replace(/\/\/[^/@]*@/, "//…@"); // a proxy's password
}

async function lookAtFolder(purpose: string, folder: string) {
	return {
		...{ purpose, path: folder },
		freeBytes: await freeBytesOf(folder).catch(() => null),
		directIo: await canBypassCache(folder).catch(() => null),
	};
}

/** Try it, as a merge would. */
async function canBypassCache(folder: string): Promise<boolean> {
	if (!(await isLocalDisk(folder))) return false;
	const scratch = await mkdtemp(path.join(folder, ".merge-delta-"));
	try {
		const name = path.join(scratch, "f");
		const file = new OpenFile(await open(name, "wx"));
		await file.bypassCache(name, constants.O_WRONLY);
		const { isDirect } = file;
		await file.close();
		return isDirect;
	} finally {
		await rm(scratch, { recursive: true });
	}
}
