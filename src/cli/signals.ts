/** What a shell expects of a process that a signal ended: 128 + the signal's number. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/** Turns the first Ctrl-C or SIGTERM into an abort; the second ends the process at once. */
export interface Stop {
	readonly signal: AbortSignal;
	/** null until a signal came */
	readonly exitCode: number | null;
	dispose(): void;
}

export function stopOnSignals(): Stop {
	const controller = new AbortController();
	let exitCode: number | null = null;
	const onSignal = (name: "SIGINT" | "SIGTERM") => {
		if (exitCode !== null) process.exit(exitCode);
		exitCode = EXIT_CODES[name];
		controller.abort();
	};
	process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
	return {
		signal: controller.signal,
		get exitCode() {
			return exitCode;
		},
		dispose: () => {
			process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
		},
	};
}
