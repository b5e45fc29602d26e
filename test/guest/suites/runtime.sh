#!/bin/bash
# runtime: the Go tests of tests.txt, as root and then as the lingering user, and the scripts of scripts/. All run, even
# after a failure; exits 1 if one failed. Scripts whose name starts with user- run as the user, the others as root.
set -u
failed=()
passed=0

note() { # note STATUS WHAT SECONDS
	if (($1 == 0)); then
		passed=$((passed + 1))
		echo "ok    $2  $3 s"
	else
		failed+=("$2")
		echo "FAIL  $2  exit $1, $3 s"
	fi
}

for who in root user; do
	runner=()
	[[ $who == root ]] || runner=(as-user)
	while read -r name; do
		cd "/payload/tests/$name" || exit 1
		SECONDS=0
		"${runner[@]}" "/payload/tests/$name.test" -test.v=false -test.timeout=5m </dev/null
		note $? "$name as $who" "$SECONDS"
	done <"/payload/$who-tests"
done

cd / || exit 1
for script in /payload/scripts/*.sh; do
	[[ -e $script ]] || continue
	runner=()
	[[ $script != */user-* ]] || runner=(as-user)
	SECONDS=0
	"${runner[@]}" bash "$script" </dev/null
	note $? "$(basename "$script")" "$SECONDS"
done

echo "runtime: $passed passed, ${#failed[@]} failed"
((${#failed[@]} == 0)) || printf 'failed: %s\n' "${failed[@]}"
((${#failed[@]} == 0))
