# What suites check with; they source it from beside them. They set dir, a folder of their own, before the first check,
# and exit with failed.
failed=0
check() { # check WHAT COMMAND…
	local what=$1
	shift
	if "$@" >"$dir/said" 2>&1; then echo "ok    $what"; else echo "FAIL  $what: exit $?"; tail -n 5 "$dir/said"; failed=1; fi
}
says() { local word=$1; shift; "$@" 2>&1 | grep -Eq -- "$word"; }
is() { local want=$1; shift; local got; got=$("$@" 2>&1); [[ $got == "$want" ]] || { echo "got: $got"; return 1; }; }
