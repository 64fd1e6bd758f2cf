import { type KnownRelease, shardsBy } from "./known-release.ts";

const HUB = "the repository's own page";
const VICUNA_V0 =
	"An older release: v1.1 replaces it, and its vocabulary of 32001 needs FastChat's rule of before 0.2";

/** Deltas as their repositories publish them. */
export const KNOWN_DELTAS: readonly KnownRelease[] = [
	{
		release: "lmsys/vicuna-13b-delta-v0",
		role: "delta",
		advice: VICUNA_V0,
		source: HUB,
		files: shardsBy("sha256", [
			"974c4e73ba16d547b5d83c1b91084cc46e15530bdd6e64b570d2df855a8c9459",
			"627062721346c21f30b679de08edd99abba409d3b37289419480c1d48f5e492a",
			"fe31b044e7b4034d0bf9adea93f1d2ef4e0fa02511914b4c19e72bdcfcacca6b",
		]),
	},
	{
		release: "lmsys/vicuna-13b-delta-v1.1",
		role: "delta",
		source: HUB,
		files: shardsBy("sha256", [
			"f770d881054b125ab670f820f11c7efd34a13ba9131ee8d5ed819efe9536d5f5",
			"92c87a57207a58f49ec7a40f978bafa1a018f625c8564e997ea24007829392dd",
			"9596032b8f4e0f35cec2b7dc00956a8e25dd2f955230e082ee3a4ada7569cf79",
		]),
	},
	{
		release: "lmsys/vicuna-7b-delta-v0",
		role: "delta",
		advice: VICUNA_V0,
		source: HUB,
		files: {
			"shard 1 of 2": {
				sha256:
					"b2b66e79605d647ecce8d9b4bd9b14ce091e1724bf5b4699ba7d7869d1cb886c",
				byteLength: 9_976_642_750,
			},
		},
	},
	{
		release: "lmsys/vicuna-7b-delta-v1.1",
		role: "delta",
		source: HUB,
		files: {
			"shard 1 of 2": {
				sha256:
					"7f161fb09b19b1cef6ae3807b154f18e7a4973cc8c200e2508c6d6958caad2f0",
			},
		},
	},
	{
		release: "tatsu-lab/alpaca-7b-wdiff",
		role: "delta",
		source: HUB,
		files: {
			"shard 1 of 3": {
				sha256:
					"95005cba09e22aa4cb30927810a673d7deffed7b7fa14067217626990fa1a114",
			},
		},
	},
	{
		release: "WizardLM-13B-V1.0 (revision 7445caf)",
		role: "delta",
		source: HUB,
		files: {
			"shard 1 of 6": {
				sha256:
					"5561e8d209e5e5e1ca297f540e2d946ce333b7f6dbc53459d6648c2374ede3ae",
				byteLength: 9_956_562_469,
			},
			"shard 2 of 6": {
				sha256:
					"c293ba1ce570225f327a844d325152d9c431ca142c147881663fae12b09a2657",
				byteLength: 9_940_854_406,
			},
		},
	},
	{
		release: "a mirror of the 13B XOR payload of Pygmalion and Metharme",
		role: "delta",
		advice:
			"To be XORed with the very files it was made with; decapoda-research's LLaMA does not fit",
		source: "the mirror's page",
		files: {
			"shard 1 of 3": {
				sha256:
					"ed8d9d8d0f59e0d6205b1c5d6bc9b85b3358367be059eef840bc26328ca58179",
				byteLength: 9_948_728_622,
			},
			"shard 2 of 3": {
				sha256:
					"551373b2bd6162a37eae8d03d7e626aa7c64a0fc70a62794ef047b266298c89e",
				byteLength: 9_904_165_088,
			},
			"shard 3 of 3": {
				sha256:
					"fdb2cc42fd5321fe993699f198c8b4fdf7b8f4e4ee1903f6428b4e073f0a0d82",
				byteLength: 6_178_983_817,
			},
		},
	},
];
