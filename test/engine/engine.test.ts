import { expect, test } from "vitest";
import { Engine } from "../../src/engine/engine.ts";
import { decideEngineOptions } from "../../src/engine/engine-options.ts";

const MIB = 2 ** 20;

test.each([
	[undefined, false, 128],
	[undefined, true, 64],
	[48e6, false, 23],
	[48e6, true, 12],
])(
	"of --memory %s slots take no more than their share, fetching %s: %i MiB",
	async (memory, isFetching, share) => {
		const choices = decideEngineOptions({ kernel: "js", memory });
		const engine = new Engine(choices, 1e12, isFetching);
		const { count, slotBytes } = engine.slots;
		await engine.close();
		expect(count * slotBytes).toBeLessThanOrEqual(share * MIB);
		expect(count * slotBytes).toBeGreaterThan(0.8 * share * MIB);
	},
);
