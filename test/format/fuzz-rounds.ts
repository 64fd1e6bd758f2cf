import { Script } from "node:vm";
import { expect } from "vitest";
import { FormatError, printable } from "../../src/errors.ts";
import { type Ingredients, mutate, Random } from "./mutation.ts";

/** `npm run fuzz` runs many rounds; each round is a file that a seed makes, the same on every machine. */
export const ROUNDS = Number(
	process.env.MERGE_DELTA_FUZZ_ROUNDS ??
		(process.env.MODE === "fuzz" ? 100_000 : 1_000),
);
const FIRST_SEED = Number(process.env.MERGE_DELTA_FUZZ_SEED ?? 1);
const BATCH = 100;
/** A round takes well under a millisecond; only a parser that hangs takes so long. */
const MAX_BATCH_MS = 10_000;
/** No file here has more than 64 KB. */
const MAX_GROWN_BYTES = 128 * 2 ** 20;

export interface Target extends Ingredients {
	/** Parse, and check what a reader may rely on afterwards. */
	parse(bytes: Buffer): void;
}

export interface AsyncTarget extends Ingredients {
	parse(bytes: Buffer): Promise<void>;
}

/** How many of the files were read, and how many refused. */
interface Counts {
	read: number;
	refused: number;
}

/** Run all rounds; the error names the first that does not end as it should. */
export function runRounds(target: Target): void {
	const rounds = new Rounds(target);
	for (let first = 0; first < ROUNDS; first += BATCH)
		underClock(rounds, () => {
			for (let i = first; i < Math.min(first + BATCH, ROUNDS); i++)
				rounds.settle(() => target.parse(rounds.next()));
		});
	rounds.check();
}

/** The same for what reads files. No clock can stop that, so it does not start after a parser that hung. */
export async function runAsyncRounds(target: AsyncTarget): Promise<void> {
	if (hung) throw new Error("not run: a parser hangs");
	const rounds = new Rounds(target);
	for (let i = 0; i < ROUNDS; i++) {
		const failure = await target.parse(rounds.next()).then(
			() => null,
			(error: unknown) => ({ error }),
		);
		rounds.named(() =>
			rounds.settle(() => {
				if (failure) throw failure.error;
			}),
		);
	}
	rounds.check();
}

class Rounds {
	private round = -1;
	private bytes: Buffer = Buffer.alloc(0);
	private buffersBefore = 0;
	private readonly counts: Counts = { read: 0, refused: 0 };
	private readonly memoryBefore = process.resourceUsage().maxRSS;
	private readonly ingredients: Ingredients;

	constructor(ingredients: Ingredients) {
		this.ingredients = ingredients;
	}

	/** The file of the next round. */
	next(): Buffer {
		const random = new Random(FIRST_SEED + ++this.round);
		const seed = random.pick(this.ingredients.seeds);
		this.bytes = mutate(seed, random, this.ingredients);
		this.buffersBefore = process.memoryUsage().arrayBuffers;
		return this.bytes;
	}

	/** Count a file as read or refused; any error but the one for malformed files is thrown on. */
	settle(parse: () => void): void {
		try {
			parse();
			this.counts.read++;
		} catch (error) {
			if (!(error instanceof FormatError)) throw error;
			expect(error.message).toBe(printable(error.message));
			this.counts.refused++;
		}
		const grown = process.memoryUsage().arrayBuffers - this.buffersBefore;
		expect(grown).toBeLessThan(MAX_GROWN_BYTES);
	}

	/** Put the round and its file in front of an error. */
	named(body: () => void): void {
		try {
			body();
		} catch (cause) {
			const file = JSON.stringify(this.bytes.toString("latin1"));
			throw new Error(
				`round ${this.round} from seed ${FIRST_SEED} on: ${file}`,
				{ cause },
			);
		}
	}

	/** Both ends must have been met, else the rounds show nothing; and memory must not have grown. */
	check(): void {
		const grown = (process.resourceUsage().maxRSS - this.memoryBefore) * 1024;
		expect(grown).toBeLessThan(2 * MAX_GROWN_BYTES);
		expect(this.counts.read).toBeGreaterThan(ROUNDS / 1000);
		expect(this.counts.refused).toBeGreaterThan(ROUNDS / 10);
	}
}

const CLOCK_STRUCK = "ERR_SCRIPT_EXECUTION_TIMEOUT";
const GUARDED = "fuzzGuarded";
const guard = new Script(`globalThis.${GUARDED}()`);

let hung = false;

/** Run under a clock that stops even a loop that never ends. */
function underClock(rounds: Rounds, body: () => void): void {
	Reflect.set(globalThis, GUARDED, body);
	rounds.named(() => {
		try {
			guard.runInThisContext({ timeout: MAX_BATCH_MS });
		} catch (error) {
			hung ||= Reflect.get(Object(error), "code") === CLOCK_STRUCK;
			throw error;
		}
	});
}
