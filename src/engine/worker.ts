import { parentPort, workerData } from "node:worker_threads";
import type { KernelName } from "../kernel/kernel.ts";
import { openKernel } from "../kernel/select.ts";
import { type Step, StepRunner } from "./step.ts";

/** What a worker thread is started with. */
export interface WorkerStart {
	memory: WebAssembly.Memory;
	kernel: KernelName;
}

/** One message each way for each step, answered in order. */
const { memory, kernel } = workerData as WorkerStart;
const runner = new StepRunner(openKernel(kernel, memory), memory.buffer);
parentPort?.on("message", (step: Step) => {
	parentPort?.postMessage(runner.run(step));
});
