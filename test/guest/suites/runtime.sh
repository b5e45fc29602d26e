#!/bin/bash
# runtime: the Go tests of tests.txt, as root and then as the lingering user. All run, even after a failure; a failed
# one's output is printed. Exits 1 if one failed.
set -u
failed=() passed=0 skipped=0
limit=3m # of one package
[[ -z ${BERTH_SWEEP:-} ]] || limit=20m
log=$(mktemp)

# failures prints what the failed tests of a verbose run said, and the last words of a program that died.
failures() {
	awk '
		/^=== (RUN|NAME|CONT|PAUSE) / { name = $3; next }
		/^ *--- (PASS|SKIP|FAIL): / { if ($2 == "FAIL:") { failed[++n] = $3 } name = $3; next }
		{ said[name] = said[name] "    " $0 "\n" }
		END {
			for (i = 1; i <= n; i++) { printf "--- FAIL: %s\n%s", failed[i], said[failed[i]]; shown[failed[i]] = 1 }
			if (!(name in shown) && said[name] ~ /panic:|fatal error|SIG[A-Z]+/) { printf "--- last: %s\n%s", name, said[name] }
		}' "$1" | tail -n 400
}

one() { # one WHO FOLDER
	local who=$1 folder=$2 runner=() status program
	program=/payload/tests/${folder//\//.}.test
	[[ $who == root ]] || runner=(as-user)
	cd "$GUEST_TOP/$folder" || exit 1
	SECONDS=0
	"${runner[@]}" "$program" -test.v=true -test.timeout="$limit" </dev/null >"$log" 2>&1
	status=$?
	skipped=$((skipped + $(grep -c '^ *--- SKIP' "$log")))
	if ((status == 0)); then
		passed=$((passed + 1))
		echo "ok    $folder as $who  $SECONDS s, $(grep -c '^ *--- PASS' "$log") tests, $(grep -c '^ *--- SKIP' "$log") skipped"
	else
		failed+=("$folder as $who")
		failures "$log"
		echo "FAIL  $folder as $who  $SECONDS s, exit $status"
	fi
}

for who in root user; do
	while read -r folder; do
		one "$who" "$folder"
	done <"/payload/$who-tests"
done

echo "runtime: packages: $passed passed, ${#failed[@]} failed; $skipped tests skipped"
((${#failed[@]} == 0)) || printf 'failed: %s\n' "${failed[@]}"
((${#failed[@]} == 0))
