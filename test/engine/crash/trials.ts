import { random } from "./explore.ts";

/** Tries some of many: as many, in an order that a seed gives, as there is time for. */
export class Trials<T> {
	tried = 0;
	/** what was not as it should be, at most a few of it */
	readonly wrong: string[] = [];
	readonly all: readonly T[];
	private readonly seed = Number(process.env.CRASH_SEED ?? 1);

	constructor(all: readonly T[]) {
		this.all = all;
	}

	/**
	 * @param seconds  after which no more is begun, if enough were; `CRASH_SECONDS` says otherwise
	 * @param work     throws where something is wrong
	 */
	async run(seconds: number, work: (each: T) => Promise<void>): Promise<void> {
		const given = Number(process.env.CRASH_SECONDS ?? seconds);
		const deadline = performance.now() + given * 1000;
		let begun = 0;
		const remaining = shuffle(this.all, this.seed).values();
		const workInTurn = async () => {
			for (const each of remaining) {
				if (performance.now() > deadline && begun >= LEAST) return;
				if (this.wrong.length >= MOST_WRONG) return;
				begun++;
				await work(each).catch((error) => this.wrong.push(error.message));
				this.tried++;
			}
		};
		await Promise.all(Array.from({ length: AT_ONCE }, workInTurn));
	}

	/** `12 of 345 (CRASH_SECONDS=Infinity for all, CRASH_SEED=2 for others)` */
	toString(): string {
		const { tried, all, seed } = this;
		const hint =
			tried === all.length
				? ""
				: ` (CRASH_SECONDS=Infinity for all, CRASH_SEED=${seed + 1} for others)`;
		return `${tried} of ${all.length}${hint}`;
	}
}

const AT_ONCE = 2;
/** On the slowest machine. */
const LEAST = 20;
const MOST_WRONG = 5;

function shuffle<T>(all: readonly T[], seed: number): T[] {
	const pick = random(seed);
	const shuffled = [...all];
	for (let i = shuffled.length - 1; i > 0; i--) {
		const j = pick(i + 1);
		[shuffled[i], shuffled[j]] = [shuffled[j] as T, shuffled[i] as T];
	}
	return shuffled;
}
