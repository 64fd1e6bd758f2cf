import { type KnownRelease, shardsBy } from "./known-release.ts";

const CHINESE_LLAMA = "ymcui/Chinese-LLaMA-Alpaca, SHA256.md";
const OASST = "OpenAssistant/oasst-sft-6-llama-30b-xor, README.md";
const PYGMALION = "AlpinDale/pygmalion-docs, pygmalion-7b.md";
const META_ADVICE =
	"Meta's own format: a delta that is added needs the Hugging Face conversion of it";
const TWO_VARIANTS =
	"Two variants of this shard circulate, of 6.51 GB and of 6.18 GB; a delta that is XORed fits only the one it was made with";

/** LLaMA-1 as Meta and its converters published it. */
export const KNOWN_BASES: readonly KnownRelease[] = [
	{
		release: "LLaMA-7B (Meta)",
		role: "key",
		advice: META_ADVICE,
		source: CHINESE_LLAMA,
		files: {
			"consolidated.00.pth": {
				sha256:
					"700df0d3013b703a806d2ae7f1bfb8e59814e3d06ae78be0c66368a50059f33d",
				md5: "6efc8dab194ab59e49cd24be5574d85e",
			},
		},
	},
	{
		release: "LLaMA-7B (Meta)",
		role: "key",
		source: "OpenBuddy, decrypt.py",
		files: {
			"first 16 MiB of consolidated.00.pth": {
				md5: "08cf0f43451cc4ae056e0b19e56c1fcf",
				byteLength: 2 ** 24,
			},
		},
	},
	{
		release: "LLaMA-13B (Meta)",
		role: "key",
		advice: META_ADVICE,
		source: CHINESE_LLAMA,
		files: {
			"consolidated.00.pth": {
				sha256:
					"745bf4e29a4dd6f411e72976d92b452da1b49168a4f41c951cfcc8051823cf08",
			},
		},
	},
	{
		release: "LLaMA-13B (Meta)",
		role: "base",
		advice: META_ADVICE,
		source: CHINESE_LLAMA,
		files: {
			"consolidated.01.pth": {
				sha256:
					"d5ccbcc465c71c0de439a5aeffebe8344c68a519bce70bc7f9f92654ee567085",
			},
		},
	},
	{
		release: "LLaMA-30B (Meta)",
		role: "base",
		advice: META_ADVICE,
		source: OASST,
		files: {
			"consolidated.00.pth": { md5: "f856e9d99c30855d6ead4d00cc3a5573" },
			"consolidated.01.pth": { md5: "d9dbfbea61309dc1e087f5081e98331a" },
			"consolidated.02.pth": { md5: "2b2bed47912ceb828c0a37aac4b99073" },
			"consolidated.03.pth": { md5: "ea0405cdb5bc638fee12de614f729ebc" },
		},
	},
	{
		release: "LLaMA-30B (Meta)",
		role: "side",
		source: OASST,
		files: { "params.json": { md5: "4babdbd05b8923226a9e9622492054b6" } },
	},
	{
		release: "LLaMA (Meta)",
		role: "side",
		source: CHINESE_LLAMA,
		files: {
			"tokenizer.model": {
				sha256:
					"9e556afd44213b6bd1be2b850ebbbd98f5481437a8021afaf58ee7fb1818d347",
			},
		},
	},
	{
		release: "LLaMA-7B (Hugging Face)",
		role: "base",
		source: CHINESE_LLAMA,
		files: shardsBy("sha256", [
			"0087155d6df07106c1d910bfeb6aab1be8e612dfbf2b56ddfb4ccbde7dbd50d0",
			"461bc5e50200db7813ff99cc0b9316c48ccbd6aaaa31bf8cf7bee0b64bc3eda3",
		]),
	},
	{
		release: "LLaMA-7B (Hugging Face)",
		role: "side",
		source: PYGMALION,
		files: {
			"config.json": {
				sha256:
					"e4c3dea29aefc16c0e63825f9ae097dbf5cb5d7c320843a84257e11be3b452c8",
			},
			"generation_config.json": {
				sha256:
					"fd7ff399e5568cc21a0a8414f43df88ef7c424995b9b97a90563165d2cf79efd",
			},
			"shard index": {
				sha256:
					"aca3c1facc89d12311a667c32e85ac86e625990992ea8a189e3b036ba371b931",
			},
			"tokenizer_config.json": {
				sha256:
					"380608719f3af6ef2b343e2ed53bf55556678609337e88a14f58cc49177b9e18",
			},
		},
	},
	{
		release: "LLaMA-13B (Hugging Face)",
		role: "base",
		source: CHINESE_LLAMA,
		files: {
			"shard 1 of 3": {
				sha256:
					"dd20cdee2637408c6ab88c13f5c27d153bacd0e99f2d55f6a66fbd0269944436",
			},
			"shard 2 of 3": {
				sha256:
					"1aba886c5f28d2e2e9b04ab3c4f5bc250c6b06efc1baa3f557677b3097f70e6a",
			},
			"shard 3 of 3, the variant of 6.51 GB": {
				sha256:
					"2efc56cddb7877c830bc5b402ee72996aedb5694c9e8007bf1d52d72c0d97d26",
				advice: TWO_VARIANTS,
			},
			"shard 3 of 3, the variant of 6.18 GB": {
				sha256:
					"eac58861ca5f3749c819676d908b906d3df38046c09efe055fe78d7678b718e7",
				advice: TWO_VARIANTS,
			},
		},
	},
	{
		release: "LLaMA-30B (Hugging Face)",
		role: "base",
		source: OASST,
		files: shardsBy("md5", [
			"9cffb1aeba11b16da84b56abb773d099",
			"5cfcb78b908ffa02e681cce69dbe4303",
			"e1dc8c48a65279fb1fbccff14562e6a3",
			"3eddc6fc02c0172d38727e5826181adb",
			"92754d6c6f291819ffc3dfcaf470f541",
			"99762d59efa6b96599e863893cf2da02",
			"462a2d07f65776f27c0facfa2affb9f9",
		]),
	},
	{
		release: "LLaMA-30B (Hugging Face)",
		role: "side",
		source: OASST,
		files: {
			"config.json": { md5: "598538f18fed1877b41f77de034c0c8a" },
			"generation_config.json": { md5: "aee09e21813368c49baaece120125ae3" },
			"tokenizer_config.json": { md5: "edd1a5897748864768b1fab645b31491" },
			"shard index": {
				md5: "fecfda4fba7bfd911e187a85db5fa2ef",
			},
		},
	},
	{
		// Byte for byte the same in several releases, merged ones among them.
		release: "LLaMA (Hugging Face)",
		role: "side",
		source: OASST,
		files: {
			"tokenizer.json": { md5: "fdb311c39b8659a5d5c1991339bafc09" },
			"tokenizer.model": { md5: "eeec4125e9c7560836b4873b6f8e3025" },
			"special_tokens_map.json": { md5: "6b2e0a735969660e720c27061ef3f3d3" },
		},
	},
];
