import { MultiBar, type SingleBar } from "cli-progress";
import type { Terminal } from "./terminal.ts";

const FORMAT = "{bar} {percentage}% {done} {rate} {eta_formatted} {name}";
/** An estimate is of the bytes of so many updates. */
const ETA_UPDATES = 500;

/** What a bar says beside how full it is. */
export interface BarText {
	done: string;
	rate: string;
	name: string;
}

/** All bars of a command, one below the other; none is drawn before there is one. */
export class Bars {
	private readonly terminal: Terminal;
	private bars: MultiBar | null = null;

	constructor(terminal: Terminal) {
		this.terminal = terminal;
	}

	create(total: number, value: number, text: BarText): SingleBar {
		this.bars ??= new MultiBar({
			stream: this.terminal.streams.stderr as NodeJS.WritableStream,
			...{ format: FORMAT, barsize: 24, hideCursor: true, emptyOnZero: true },
			...{ clearOnComplete: true, etaBuffer: ETA_UPDATES },
			gracefulExit: false, // signals are the command's business
		});
		return this.bars.create(total, value, text);
	}

	remove(bar: SingleBar): void {
		this.bars?.remove(bar);
	}

	/** Leave the terminal as it should be; any number of times. */
	stop(): void {
		this.bars?.stop();
	}
}
