#!/usr/bin/env bash
# Verify a model in a job of GitHub's. The inputs come by the environment, so that none is taken for code.
set -euo pipefail

refuse() {
	echo "::error title=merge-delta::$1"
	exit 2
}

[[ -n ${MODEL:-} ]] || refuse "the input model is empty"
if [[ -n ${VERSION:-} ]]; then
	[[ $VERSION =~ ^[0-9A-Za-z][0-9A-Za-z.+-]*$ ]] || refuse "the input version is none"
	command=(npx --yes "merge-delta@$VERSION")
else
	root=$(cd "$GITHUB_ACTION_PATH/../../.." && pwd)
	# Its output is not that of the command.
	[[ -f $root/dist/bin/merge-delta.cjs ]] || (cd "$root" && npm ci --no-audit --no-fund >&2)
	command=(node "$root/dist/bin/merge-delta.cjs")
fi

# What begins with a dash would be taken for a flag.
[[ $MODEL != -* ]] || MODEL=./$MODEL
arguments=(verify "$MODEL")
[[ -z ${EXPECT:-} ]] || arguments+=("--expect=$EXPECT")
while read -r -a words || [[ ${#words[@]} -gt 0 ]]; do
	[[ ${#words[@]} -eq 0 ]] || arguments+=("${words[@]}")
done <<<"${ARGS:-}"

log=$(mktemp)
status=0
"${command[@]}" "${arguments[@]}" | tee "$log" || status=$?

if [[ -n ${GITHUB_STEP_SUMMARY:-} ]]; then
	{
		[[ $status -eq 0 ]] && echo "### Model verified" || echo "### Model not verified (exit code $status)"
		echo
		# Indented it is code: no name in it can be markup.
		tail -n 200 "$log" | sed 's/^/    /'
		echo
	} >>"$GITHUB_STEP_SUMMARY"
fi
[[ -z ${GITHUB_OUTPUT:-} ]] || echo "exit-code=$status" >>"$GITHUB_OUTPUT"
rm -f "$log"
exit "$status"
