#!/bin/bash
# beside: who reaches whom with berth beside ufw, firewalld and dockerd, each as Debian installs it, after each was loaded
# anew, too. It is test/differential/reach, held against dockerd's in the same place. Exits 1 if anything is not so.
set -u
export PATH=$PATH:/usr/sbin:/sbin
[[ -x $GUEST_TOP/bin/berth ]] || { echo "beside: no berth in this payload"; exit 1; }
modprobe -a veth bridge overlay nf_tables || exit 1
cd "$GUEST_TOP/test/differential/reach" || exit 125
log=$(mktemp)
# The guest is the test's own network, as nobody else is here.
BERTH_TEST_OWN_NETWORK=1 BERTH_BESIDE=1 /payload/tests/test.differential.reach.test -test.v -test.timeout=15m -test.run '^TestBeside$' 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
grep -q '^--- PASS: TestBeside' "$log" || { journalctl --no-pager -q -n 60 -u docker -u firewalld -u ufw; ((status > 0)) || status=1; }
exit "$status"
