# sources.sh: where this machine's apt gets Debian from, for scripts that bootstrap one. Sourced; $suite is the release.

# machine_sources prints this machine's apt sources for the release: one-line entries and deb822 stanzas whose suite is
# the release itself, its updates or its security archive.
machine_sources() {
	local f
	for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[[ -f $f ]] || continue
		sed -E 's/#.*//' "$f" | grep -E "^[[:space:]]*deb[[:space:]](.*[[:space:]])?$suite(-updates|-security|/updates)?[[:space:]]" || true
	done
	echo
	for f in /etc/apt/sources.list.d/*.sources; do
		[[ -f $f ]] || continue
		awk -v suite="$suite" '
			function flush() { if (keep && !off) print text; text = ""; keep = off = 0 }
			/^#/ { next }
			/^[[:space:]]*$/ { flush(); next }
			{ text = text $0 "\n" }
			tolower($1) == "enabled:" && tolower($2) == "no" { off = 1 }
			tolower($1) == "suites:" { for (i = 2; i <= NF; i++) if ($i == suite || $i == suite "-updates" || $i == suite "-security") keep = 1 }
			END { flush() }' "$f"
	done
}

# machine_lists DIR writes them into DIR, one-line entries and deb822 stanzas apart, as the two cannot share one file, and
# fails without any.
machine_lists() {
	machine_sources | awk -v dir="$1" '
		/^[A-Za-z-]+:/ { stanza = 1 }
		/^$/ { stanza = 0; if (used) print "" > (dir "/machine.sources") }
		stanza || /^[[:space:]]+[^d]/ { print > (dir "/machine.sources"); used = 1; next }
		/^[[:space:]]*deb/ { print > (dir "/machine.list") }'
	[[ -n $(find "$1" -type f -size +2c) ]]
}

# apt_options prints how this machine's apt fetches (proxies, retries, checks), a line each.
apt_options() {
	apt-config dump | grep -E '^Acquire::(http|https|ftp|Retries|Check-)[^"]*"[^"]+"' || true
}
