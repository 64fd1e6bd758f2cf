import { type KnownRelease, shardsBy } from "./known-release.ts";

const SFT_6 = "OpenAssistant/oasst-sft-6-llama-30b";
const RLHF_2 = "OpenAssistant/oasst-rlhf-2-llama-30b-7k-steps";
const PYGMALION = "AlpinDale/pygmalion-docs, pygmalion-7b.md";
const BELLE = "LianjiaTech/BELLE, README.md";

/** What the published XOR payloads and encrypted files decode to. */
export const KNOWN_XOR_RESULTS: readonly KnownRelease[] = [
	{
		release: SFT_6,
		role: "merged",
		source: `${SFT_6}-xor, README.md`,
		files: shardsBy("md5", [
			"ff6e4cf43ddf02fb5d3960f850af1220",
			"ae48c4c68e4e171d502dd0896aa19a84",
			"659fcb7598dcd22e7d008189ecb2bb42",
			"f7aefb4c63be2ac512fd905b45295235",
			"740c324ae65b1ec25976643cda79e479",
			"369df2f0e38bda0d9629a12a77c10dfc",
			"970e99665d66ba3fad6fdf9b4910acc5",
		]),
	},
	{
		release: SFT_6,
		role: "side",
		source: `${SFT_6}-xor, README.md`,
		files: {
			"config.json": { md5: "cc9dbf56b68b68a585cc7367696e06a7" },
			"shard index": {
				md5: "76d47e4f51a8df1d703c6f594981fcab",
			},
			"tokenizer_config.json": { md5: "fd9452959d711be29ccf04a97598e8d1" },
			"special_tokens_map.json": { md5: "785905630a0fe583122a8446a5abe287" },
		},
	},
	{
		release: RLHF_2,
		role: "merged",
		source: "Yhyu13, README.md of its merge",
		files: shardsBy("md5", [
			"9f41bd4d5720d28567b3e7820b4a8023",
			"ed991042b2a449123824f689bb94b29e",
			"f11acc069334434d68c45a80ee899fe5",
			"4c5941b4ee12dc0d8e6b5ca3f6819f4d",
			"b6e90377103e9270cbe46b13aed288ec",
			"2c92d306969c427275f34b4ebf66f087",
			"d08594778f00abe70b93899628e41246",
		]),
	},
	{
		release: RLHF_2,
		role: "side",
		source: "Yhyu13, README.md of its merge",
		files: {
			"config.json": { md5: "9a4d2468ecf85bf07420b200faefb4af" },
			"generation_config.json": { md5: "148bfd184af630a7633b4de2f41bfc49" },
			"shard index": {
				md5: "13a3641423840eb89f9a86507a90b2bf",
			},
			"tokenizer.json": { md5: "deb33dd4ffc3d2baddcce275a00b7c1b" },
			"tokenizer_config.json": { md5: "ed59bfee4e87b9193fea5897d610ab24" },
			"special_tokens_map.json": { md5: "704373f0c0d62be75e5f7d41d39a7e57" },
		},
	},
	{
		release: "OpenAssistant's LLaMA-30B models",
		role: "side",
		source: `${SFT_6}-xor, README.md; Yhyu13, README.md of its merge`,
		files: { "added_tokens.json": { md5: "27b0dc092f99aa2efaf467b2d8026c3f" } },
	},
	{
		release: `Pygmalion-7B and ${SFT_6}`,
		role: "side",
		source: `PygmalionAI/pygmalion-7b, README.md; ${SFT_6}-xor, README.md`,
		files: {
			"generation_config.json": { md5: "2917a1cafb895cf57e746cfd7696bfe5" },
		},
	},
	{
		release: "Pygmalion-7B",
		role: "merged",
		source: PYGMALION,
		files: {
			"shard 1 of 2": {
				sha256:
					"61bcb043c3c4dc4d567ffea91b3074c70d54089eb3f1872b945d7a4e32677edf",
				md5: "98764eb949eea16f8e2e1c2d3dea0066",
			},
			"shard 2 of 2": {
				sha256:
					"41ebe6971edc8f04b0784ef8ed54216fcd36f8a4d51faf415851c9b824769ba2",
				md5: "be9ba2f37228a0a9ea0eaf6530aba4de",
			},
		},
	},
	{
		release: "Pygmalion-7B",
		role: "side",
		source: "PygmalionAI/pygmalion-7b, README.md",
		files: {
			"config.json": { md5: "4608facb4910118f8dfa80f090cbc4dc" },
			"shard index": {
				md5: "81648ef3915ed2e83d49fed93122d53e",
			},
			"tokenizer_config.json": { md5: "9b3cf7b8c0e4783dbc1419b4cafe8e1e" },
		},
	},
	{
		release: "Metharme-7B",
		role: "merged",
		source: PYGMALION,
		files: shardsBy("sha256", [
			"7ba01a5594b0a507290cf5fbf77e2456801773dd62f1993a8f21b92156e70533",
			"58e523a7f79427ed166a505c54fa7ebe96bd6b2fde35f980b184039faca8989f",
		]),
	},
	{
		release: "Pygmalion-13B",
		role: "merged",
		source: PYGMALION,
		files: shardsBy("sha256", [
			"6b05c8e8ae9c1065e4c7cfd2b61311191d2ad5735a2e4beab98fc53b49375af8",
			"4cd096ac310b6bbc3acd3d729277427ad3c3d5740619462dc8f907dfeac3e66f",
			"a2fe9ac5d7005e65c58b8d14818678dd0730689f518612b90cca19fed7c483ad",
		]),
	},
	{
		release: "Metharme-13B",
		role: "merged",
		source: PYGMALION,
		files: shardsBy("sha256", [
			"07727e130b7e4ec66162920b4e090554e6c58e87d25b433ab8123eb3a55fd5e7",
			"26b6f7e020c94347280d8952b054275fe2293267f9a0e99e1c2bf4df724d99d9",
			"5d00548d2c28ced08ec7b4123749f20e9ca4af2a821724f9ec47a1c5cf0f66d4",
		]),
	},
	{
		release: "BELLE-LLaMA-7B-2M",
		role: "merged",
		source: "BELLE-LLaMA-7B-2M-enc, its file names",
		files: shardsBy("sha256", [
			"166879223b7504f1632d72b1577d57bceaa8fdeee1857c61119e575c50a4aae5",
			"2319db050dc286cb22c6e08a51a4ec0d9377017a7182a20a12c39eb658f39c80",
		]),
	},
	{
		release: "BELLE-LLaMA-EXT-7B",
		role: "merged",
		source: BELLE,
		files: shardsBy("md5", [
			"a88865ce42f45c0c88cd4f7f8ecd75ea",
			"ce23ee57ecc73a78b0117e38a68f8d84",
		]),
	},
	{
		release: "BELLE-LLaMA-EXT-7B",
		role: "side",
		source: BELLE,
		files: { "config.json": { md5: "df363050c4ded5c3136270cef715a7d1" } },
	},
	{
		release: "point-alpaca",
		role: "merged",
		source: "pointnetwork/point-alpaca",
		files: shardsBy("md5", [
			"5d17f8837f9f15538acd65b7d37add2c",
			"834b0748527482d60236bc1ec0c71750",
			"03dda8d1057b06632fecf399020353b4",
		]),
	},
	{
		release: "TechGPT-7B",
		role: "merged",
		source: "neukg/TechGPT, README.md",
		files: { "pytorch_model.bin": { md5: "0d322cb6bde34f7086791ce12fbf2bdc" } },
	},
];
