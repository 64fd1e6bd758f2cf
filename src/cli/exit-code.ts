import {
	FormatError,
	InterruptedError,
	LocalIoError,
	type MergeDeltaError,
	MismatchError,
	NetworkError,
	OutputConflictError,
	SourceChangedError,
	UsageError,
	VerificationError,
} from "../index.ts";

/** What the process ends with: one number per reaction of the caller. Listed in the README. */
export const EXIT_CODES: readonly {
	code: number;
	meaning: string;
	of: (new (...args: never[]) => MergeDeltaError) | null;
}[] = [
	{ code: 0, meaning: "done", of: null },
	{
		code: 1,
		meaning: "verification failed, or there was nothing to verify",
		of: VerificationError,
	},
	{ code: 2, meaning: "the arguments make no sense", of: UsageError },
	{
		code: 3,
		meaning: "an input is malformed, unsafe or of an unsupported kind",
		of: FormatError,
	},
	{ code: 4, meaning: "the inputs do not fit together", of: MismatchError },
	{
		code: 5,
		meaning: "the network or the Hub failed, or refused; resumable",
		of: NetworkError,
	},
	{
		code: 6,
		meaning: "the machine failed: full disk, I/O error, permissions; resumable",
		of: LocalIoError,
	},
	{
		code: 7,
		meaning: "an input changed while it was read",
		of: SourceChangedError,
	},
	{
		code: 8,
		meaning: "the output exists, is in use, or belongs to another plan",
		of: OutputConflictError,
	},
	{ code: 70, meaning: "a bug in merge-delta: please report it", of: null },
	{
		code: 130,
		meaning: "interrupted (143 when terminated); resumable",
		of: InterruptedError,
	},
];

const INTERNAL_ERROR = 70;

export function exitCodeOf(error: unknown): number {
	return (
		EXIT_CODES.find(({ of }) => of !== null && error instanceof of)?.code ??
		INTERNAL_ERROR
	);
}
