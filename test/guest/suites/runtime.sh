#!/bin/bash
# runtime: the Go tests of tests.txt, as root and then as the lingering user. All run, even after a failure; a failed
# one's output is printed. Exits 1 if one failed.
set -u
failed=() passed=0 skipped=0
log=$(mktemp)

one() { # one WHO FOLDER
	local who=$1 folder=$2 runner=() status program
	program=/payload/tests/${folder//\//.}.test
	[[ $who == root ]] || runner=(as-user)
	cd "$GUEST_TOP/$folder" || exit 1
	SECONDS=0
	"${runner[@]}" "$program" -test.v=true -test.timeout=2m </dev/null >"$log" 2>&1
	status=$?
	skipped=$((skipped + $(grep -c '^ *--- SKIP' "$log")))
	if ((status == 0)); then
		passed=$((passed + 1))
		echo "ok    $folder as $who  $SECONDS s, $(grep -c '^ *--- PASS' "$log") tests, $(grep -c '^ *--- SKIP' "$log") skipped"
	else
		failed+=("$folder as $who")
		grep -v '^ *\(=== \|--- PASS\)' "$log" | tail -n 200
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
