export {
	type CacheOptions,
	type CacheReport,
	type CacheVerifyOptions,
	type CacheVerifyReport,
	cache,
	type VerifiedBlob,
	verifyCache,
} from "./cache.ts";
export {
	type CompareOptions,
	type CompareReport,
	compare,
	type DifferentTensor,
} from "./compare.ts";
export {
	BYTE_SCHEMES,
	type ByteScheme,
	type ByteSchemeId,
} from "./delta/byte-schemes.ts";
export { GROW_RULES } from "./delta/convention.ts";
export { CONVENTIONS, type ConventionId } from "./delta/conventions.ts";
export {
	type ConventionRow,
	describeConvention,
} from "./delta/describe-convention.ts";
export type { MergePlan } from "./delta/plan.ts";
export { sumsOf } from "./delta/plan.ts";
export { type DoctorReport, doctor } from "./doctor.ts";
export type { ReadingChoices } from "./engine/engine.ts";
export type { EngineChoices } from "./engine/engine-options.ts";
export type { Manifest, Restoration } from "./engine/manifest.ts";
export type { Progress } from "./engine/progress.ts";
export type { RunPerformance } from "./engine/publish.ts";
export type { Resumed, StagedOptions } from "./engine/staged-run.ts";
export {
	FormatError,
	InterruptedError,
	LocalIoError,
	MergeDeltaError,
	MismatchError,
	NetworkError,
	OutputConflictError,
	printable,
	SourceChangedError,
	UsageError,
	VerificationError,
} from "./errors.ts";
export { type FetchOptions, fetch } from "./fetch.ts";
export type { FetchNeeds } from "./fetch-inputs.ts";
export {
	CHECKSUM_ALGORITHMS,
	type ChecksumAlgorithm,
	toldName,
} from "./format/checksum-file.ts";
export type {
	CachedBlob,
	CachedRepository,
	CachedSnapshot,
} from "./hub/cache-contents.ts";
export type { DownloadProgress } from "./hub/download.ts";
export type { FetchedFile, FetchedRepository } from "./hub/fetch-repository.ts";
export { type Repository, repositoryAt } from "./hub/repository.ts";
export type { HubOptions } from "./hub/settings.ts";
export { type InspectOptions, type InspectReport, inspect } from "./inspect.ts";
export { DIRECT_IO, type DirectIo } from "./io/direct-io.ts";
export { KERNEL_NAMES, type KernelName } from "./kernel/kernel.ts";
export type { FetchChoices } from "./locate.ts";
export {
	type MakeInputs,
	type MakeOptions,
	type MakeReport,
	make,
} from "./make.ts";
export { type MergeOptions, type MergeReport, merge } from "./merge.ts";
export {
	type ConventionWishes,
	type PlanInputs,
	type PlanReport,
	plan,
} from "./plan.ts";
export { FLOAT_DTYPES, type FloatDtype } from "./tensor/dtype.ts";
export { formatShape } from "./tensor/tensor.ts";
export type { VerifiedTensor } from "./tensor-list.ts";
export {
	type VerifyOptions,
	type VerifyReport,
	verify,
} from "./verify.ts";
export type { VerifiedFile } from "./verify-files.ts";
export { VERSION } from "./version.ts";
