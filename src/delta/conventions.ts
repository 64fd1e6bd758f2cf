import type { Convention, ConventionChanges } from "./convention.ts";

/** FastChat's apply_delta.py since 0.2: both models loaded as float16, `param += delta[name]` over the base. */
const F16_SAME = {
	cast: "F16",
	deltaDtype: "F16",
	out: "F16",
	subtract: false,
	summed: [],
	grow: "none",
	mustGrow: false,
	loop: "base",
	verbatim: [],
	verbatimOut: null,
	deltaOnly: "drop",
	prefix: "",
	configFrom: "base",
	generationConfig: true,
	tokenizerFrom: "delta",
	expects: null,
} as const satisfies Partial<Convention>;

/** FastChat to 0.1.10: a `[PAD]` token is added to the base, its rows zero. */
const F16_ZERO = { ...F16_SAME, grow: "zero", mustGrow: true } as const;

/** Stanford Alpaca's weight_diff.py: all in float32, over the delta, new rows of the base the mean of its rows. */
const F32_MEAN = {
	...F16_SAME,
	cast: "F32",
	deltaDtype: "F32",
	out: "F32",
	grow: "mean",
	mustGrow: true,
	loop: "delta",
	deltaOnly: "refuse",
	configFrom: "delta",
} as const;

/** LLaVA's apply_delta.py: float16, over the delta, the base added to the corner it covers. */
const F16_SLICE = {
	...F16_SAME,
	grow: "slice",
	loop: "delta",
	verbatim: ["mm_projector"],
	verbatimOut: "F16",
	deltaOnly: "refuse",
	configFrom: "delta",
} as const;

/** Fengshenbang's apply_delta.py: embeddings and rotary frequencies are whole in the delta. */
const F16_SKIP = {
	...F16_SLICE,
	grow: "none",
	verbatim: ["embed_tokens", "lm_head.weight", "self_attn.rotary_emb.inv_freq"],
} as const;

/** Every convention, in the order `auto` prefers among those that give the same bytes. */
export const CONVENTIONS = {
	"fastchat-v1.1": {
		...F16_SAME,
		summary: "FastChat 0.2 and later (Vicuna v1.1): both sides as F16, F16 out",
		publishedBy: "lmsys/vicuna-{7b,13b}-delta-v1.1, ChatYuan-7B, ChatAlpaca",
		expects: { dtype: "F16", grown: "none", name: null },
	},
	"fastchat-lowmem": {
		...F16_SAME,
		summary:
			"FastChat with --low-cpu-mem: types as stored, that of the base out",
		publishedBy: "the same deltas as fastchat-v1.1",
		cast: null,
		deltaDtype: null,
		out: "base",
		configFrom: "delta",
		generationConfig: false,
	},
	"wizard-vicuna": {
		...F16_SAME,
		summary: "a delta of WizardVicuna-13B against LLaMA-13B, as fastchat-v1.1",
		publishedBy:
			"nobody: junelee/wizard-vicuna-13b holds whole weights, which need no merge",
	},
	gorilla: {
		...F16_SAME,
		summary: "Gorilla, as fastchat-v1.1",
		publishedBy: "gorilla-llm/gorilla-7b-hf-delta-v0, -v1",
	},
	k2: {
		...F16_SAME,
		summary: "K2, as fastchat-v1.1, with the base's tokenizer",
		publishedBy: "daven3/k2_fp_delta",
		tokenizerFrom: "base",
	},
	bayling: {
		...F16_SAME,
		summary: "BayLing: F16, over the delta, with its config",
		publishedBy: "ICTNLP/bayling-{7b,13b}-diff",
		loop: "delta",
		deltaOnly: "refuse",
		configFrom: "delta",
	},
	"fastchat-v0": {
		...F16_ZERO,
		summary:
			"FastChat to 0.1.10 (Vicuna v0): F16, the base grown by rows of zeros",
		publishedBy:
			"lmsys/vicuna-{7b,13b}-delta-v0, GanjinZero/wombat-7b-delta, FreedomIntelligence/chimera-*-delta",
		expects: { dtype: "F16", grown: "one", name: null },
	},
	"stable-vicuna": {
		...F16_ZERO,
		summary: "StableVicuna, as fastchat-v0, against LLaMA-13B",
		publishedBy: "CarperAI/stable-vicuna-13b-delta",
	},
	expertllama: {
		...F16_ZERO,
		summary: "ExpertLLaMA: an F16 delta added in F32, rows of zeros, F32 out",
		publishedBy: "OFA-Sys/expertllama-7b-delta",
		cast: "F32",
		out: "F32",
		expects: { dtype: "F16", grown: "some", name: null },
	},
	alpaca: {
		...F32_MEAN,
		summary: "Stanford Alpaca: F32, the base grown by the mean of its rows",
		publishedBy: "tatsu-lab/alpaca-7b-wdiff",
		expects: { dtype: "F32", grown: "one", name: null },
	},
	wizardlm: {
		...F32_MEAN,
		summary: "WizardLM V1.0, as alpaca",
		publishedBy: "WizardLMTeam/WizardLM-{7B,13B,30B}-V1.0",
	},
	tulu: {
		...F32_MEAN,
		summary: "Tülu v1, as alpaca",
		publishedBy: "allenai/tulu-{7b,13b,30b,65b}, allenai/open-instruct-*",
	},
	ultralm: {
		...F32_MEAN,
		mustGrow: false,
		summary: "UltraLM, as alpaca",
		publishedBy: "openbmb/UltraLM-13b",
	},
	selfee: {
		...F32_MEAN,
		summary: "SelFee, as alpaca",
		publishedBy: "kaist-ai/selfee-{7b,13b}-delta",
	},
	"lawyer-llama": {
		...F32_MEAN,
		mustGrow: false,
		summary:
			"Lawyer LLaMA's script: as alpaca, over the base, without tokenizer",
		publishedBy: "AndrewZhe/lawyer-llama",
		loop: "base",
		deltaOnly: "drop",
		configFrom: "base",
		tokenizerFrom: null,
	},
	gisting: {
		...F32_MEAN,
		summary: "Gisting: F32, the row of <GIST> zero in the base",
		publishedBy: "jayelm/llama-7b-{gist,pos_control,neg_control}-1",
		grow: "zero",
		expects: { dtype: "F32", grown: "one", name: null },
	},
	knowlm: {
		...F32_MEAN,
		mustGrow: false,
		summary: "KnowLM (ZhiXi, CaMA): F32, no growth",
		publishedBy: "zjunlp/zhixi-13b-diff",
		grow: "none",
		expects: { dtype: "F32", grown: "none", name: null },
	},
	"alpaca-farm": {
		...F32_MEAN,
		mustGrow: false,
		summary:
			"AlpacaFarm: F32, embeddings of more than one new row are the delta's",
		publishedBy: "tatsu-lab/alpaca-farm-*-wdiff",
		grow: "pad",
		verbatimOut: "F32",
		deltaOnly: "verbatim",
		expects: { dtype: "F32", grown: "some", name: null },
	},
	"alpaca-farm-reward": {
		...F32_MEAN,
		mustGrow: false,
		summary: "AlpacaFarm's reward models: the same behind backbone_model.",
		publishedBy: "tatsu-lab/alpaca-farm-reward-model-*-wdiff",
		grow: "pad",
		verbatimOut: "F32",
		deltaOnly: "verbatim",
		prefix: "backbone_model.",
		expects: { dtype: "F32", grown: "some", name: "backbone_model." },
	},
	llava: {
		...F16_SLICE,
		summary:
			"LLaVA: F16, added to the rows the base has, the projector the delta's",
		publishedBy: "liuhaotian/LLaVA-*-delta-v0, -v1-1",
		expects: { dtype: "F16", grown: "some", name: "mm_projector" },
	},
	shikra: {
		...F16_SLICE,
		summary: "Shikra, as llava",
		publishedBy: "shikras/shikra-7b-delta-v1, -v1-0708",
	},
	gpt4roi: {
		...F16_SLICE,
		summary: "GPT4RoI, as llava, its spi_module the delta's too",
		publishedBy: "shilongz/GPT4RoI-7B-delta-V0",
		verbatim: ["mm_projector", "spi_module"],
	},
	"video-chatgpt": {
		...F16_SLICE,
		summary: "Video-ChatGPT, as llava",
		publishedBy: "mbzuai-oryx/Video-ChatGPT",
	},
	"llava-med": {
		...F16_SLICE,
		summary: "LLaVA-Med v1.0, as llava",
		publishedBy: "llava_med_in_text_60k_delta",
	},
	husky: {
		...F16_SLICE,
		summary: "Husky: as llava behind language_model., the rest the delta's",
		publishedBy: "InternGPT's husky",
		verbatim: [],
		deltaOnly: "verbatim",
		prefix: "language_model.",
		expects: { dtype: "F16", grown: "some", name: "language_model." },
	},
	ziya: {
		...F16_SKIP,
		summary: "Ziya: F16, embeddings and rotary frequencies the delta's",
		publishedBy: "IDEA-CCNL/Ziya-LLaMA-13B-v1, -v1.1, -Pretrain-v1",
		expects: { dtype: "F16", grown: "several", name: null },
	},
	huatuogpt: {
		...F16_SKIP,
		summary: "HuatuoGPT, as ziya",
		publishedBy: "FreedomIntelligence/HuatuoGPT-13b-delta, Patent-LLaMA",
	},
	panda: {
		...F32_MEAN,
		mustGrow: false,
		summary: "Panda: F32, embeddings the delta's",
		publishedBy:
			"chitanda/llama-panda-zh-*-delta, NTU-NLP-sg/flan-llama-7b-10m-delta",
		grow: "none",
		verbatim: ["embed_tokens", "lm_head"],
		verbatimOut: "F32",
		expects: { dtype: "F32", grown: "none", name: null },
	},
	yulan: {
		...F32_MEAN,
		mustGrow: false,
		summary: "YuLan-Chat: BF16, the base grown by rows of zeros",
		publishedBy:
			"RUCAIBox/YuLan-Chat-{13b,65b}-delta, yulan-team/YuLan-Chat-1-65B-v2-delta",
		cast: "BF16",
		deltaDtype: "BF16",
		out: "BF16",
		grow: "zero",
		expects: { dtype: "BF16", grown: null, name: null },
	},
	lmflow: {
		...F16_SAME,
		summary: "LMFlow (Robin): both sides as BF16, BF16 out",
		publishedBy: "OptimalScale/robin-*-delta",
		cast: "BF16",
		deltaDtype: "BF16",
		out: "BF16",
		expects: { dtype: "BF16", grown: "none", name: null },
	},
	billa: {
		...F16_SLICE,
		summary:
			"BiLLa: the base's embedding taken away from the delta's, all else the delta's",
		publishedBy: "Neutralzz/BiLLa-7B-LLM, Neutralzz/BiLLa-7B-SFT",
		cast: "F32",
		subtract: true,
		summed: ["embed_tokens"],
		verbatim: [],
		verbatimOut: null,
	},
	add: {
		...F16_SAME,
		summary: "plain sum of tensors of one dtype, in that dtype",
		publishedBy: "anyone who says nothing else",
		cast: null,
		deltaDtype: null,
		out: null,
		deltaOnly: "refuse",
		expects: null,
	},
} as const satisfies Record<string, Convention>;

export type ConventionId = keyof typeof CONVENTIONS;

export const CONVENTION_IDS = Object.keys(CONVENTIONS) as ConventionId[];

/** A convention, with what was changed of it. */
export function conventionOf(
	id: ConventionId,
	changes: ConventionChanges,
): Convention {
	const known: Convention = CONVENTIONS[id];
	const { cast } = changes;
	return {
		...{ ...known, ...changes },
		...(cast === undefined ? {} : { out: cast, verbatimOut: cast }),
		...(changes.grow === undefined ? {} : { mustGrow: false }),
	};
}
