import type { KnownRelease } from "./known-release.ts";
import { shardsBy } from "./known-release.ts";
import { KNOWN_XOR_RESULTS } from "./known-xor-results.ts";

/** Full weights: what the scripts of additive deltas gave, or what was published merged. */
const KNOWN_SUMS: readonly KnownRelease[] = [
	{
		release: "lmsys/vicuna-7b-v1.1",
		role: "merged",
		source: "its own page; helloollel/vicuna-7b and eachadea/vicuna-7b-1.1",
		files: shardsBy("sha256", [
			"5ed572be140240b212049a3e791271eed8a04c40bc732c91a4da4b1469db23b1",
			"d9382da358f0ec38c4fca3bcf1e3e65274ae4c78090e0775b4bb4dea6a518e08",
		]),
	},
	{
		release: "lmsys/vicuna-13b-v1.1",
		role: "merged",
		source: "its own page; uukuguy/vicuna-13b-v1.1",
		files: {
			"shard 1 of 3": {
				sha256:
					"7e754ec47918eb6569468a1fbdc68ee376202eb4e34c97a05951d894e195d296",
			},
			"shard 3 of 3, the variant of 6.51 GB": {
				sha256:
					"bf1ed63a11c0d9176006fe49914eaa911f0e73c2aaf614c11f8534ec934d7a89",
			},
		},
	},
	{
		release: "Vicuna-7B v0",
		role: "merged",
		advice: "An older release: v1.1 replaces it",
		source: "helloollel/vicuna-7b (25e57c6), Tribbiani and ZzZZCHS",
		files: {
			"shard 1 of 2": {
				sha256:
					"ef1b2c502e2eab32176400bd8af8636163619fb04e65c0c0fdea58f1cbe21807",
			},
		},
	},
	{
		release: "Vicuna-13B",
		role: "merged",
		advice: "Its repositories do not say which version; probably v0",
		source: "youkaichao and nickmandylas",
		files: {
			"shard 1 of 3": {
				sha256:
					"0bac14d265d543d2ec08047c274bfdf5eda35140cf20d3c70dd31c02dbca62e6",
			},
		},
	},
	{
		release: "Vicuna-7B v0 on decapoda-research's LLaMA",
		role: "merged",
		advice:
			"An older release, merged onto another conversion of LLaMA than most",
		source: "BetterHF, README.md",
		files: shardsBy("md5", [
			"5e63e46f2547e75c209c79aebe21f5ca",
			"53a0d7b5e34c432401f1979b454272ee",
		]),
	},
	{
		release: "LLaVA-13B v0",
		role: "merged",
		source: "haotian-liu/LLaVA, issue 48",
		files: shardsBy("md5", [
			"9585dc8282cf1ea48c2ae2e07471db0c",
			"96e55e68ada8315601ee226633074398",
			"aa21a374a965a0f6118355f901f47b94",
		]),
	},
	{
		release: "TheBloke/wizardLM-7B-HF, F32 (revision aa32ae2)",
		role: "merged",
		source: "its own page",
		files: {
			"shard 2 of 3": {
				sha256:
					"6f91a7321c1cee048f2da1433014b6547348de7596d2c419fb8e64f869661439",
			},
			"shard 3 of 3": {
				sha256:
					"f347240fccbf12ce77119a44df255a0260373687cdb59cb77446bca1dbb8a98b",
			},
		},
	},
	{
		release: "TheBloke/wizardLM-7B-HF, F16 (revision 5c59d97)",
		role: "merged",
		advice:
			"Rounded to F16 after the merge, which WizardLM's own script leaves in F32",
		source: "its own page",
		files: {
			"shard 2 of 3": {
				sha256:
					"1e8af78cb28d8fd2313db076a566b78925654545fe84bbef45a29bda993e6e0a",
			},
		},
	},
	{
		release: "TheBloke/wizard-vicuna-13B-HF",
		role: "merged",
		advice: "Junelee's wizard-vicuna-13b in F16: there is no delta of it",
		source: "its own page",
		files: shardsBy("sha256", [
			"8e5f81c415d27aa6d0bf85af9bdd370c9a983eebeecf959defb5c084f6e77664",
			"e8671432ed93ad011f334a1afba809b404f962fb3d6c6a9ecf0fcdab2543bf84",
			"cd04ca878d1884346f1af7f53e9de5ff0959d9e0762e52c4b9ec48ce2733b237",
		]),
	},
];

export const KNOWN_MERGED: readonly KnownRelease[] = [
	...KNOWN_SUMS,
	...KNOWN_XOR_RESULTS,
];
