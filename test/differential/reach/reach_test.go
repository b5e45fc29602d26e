// Package reach measures who reaches whom on a host with berth and on the same
// host with Debian's dockerd, and compares the two, cell by cell: each host is a
// network namespace, on a LAN with a neighbour and a router, behind which is
// another host, and with a second leg that leads to a fourth. Berth and dockerd
// are the real ones and have the same containers on the same networks.
//
// A cell is open or closed. Each of berth's must be as dockerd's; those that may
// be closed where dockerd's is open stand with their clause in clauses_test.go,
// and none may be open that is closed there. All is measured again with drop
// policies of the administrator, and where the host was a router before.
// docs/reach.md is what was measured; -update writes it anew.
//
// It belongs to the tests, outside the rows.
package reach

import (
	"os"
	"sync"
	"testing"

	"berth/test/netns"
)

func TestMain(m *testing.M) { os.Exit(netns.Main(m.Run)) }

// scenario is what an administrator has done on his host.
type scenario struct {
	name, title string
	router      string // what the host forwarded before any engine came
	begin, end  []string
}

var scenarios = []scenario{
	{name: "plain", title: "A host as it is installed"},
	{
		name: "nft", title: "The administrator's own table drops what comes in and what is forwarded",
		begin: []string{"nft add table inet admin",
			"nft add chain inet admin input { type filter hook input priority filter ; policy drop ; }",
			"nft add rule inet admin input ct state established,related accept",
			"nft add rule inet admin input iifname lo accept",
			"nft add rule inet admin input icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept",
			"nft add chain inet admin forward { type filter hook forward priority filter ; policy drop ; }",
			"nft add rule inet admin forward ct state established,related accept"},
		end: []string{"nft delete table inet admin"},
	},
	{
		name: "legacy", title: "iptables-legacy -P FORWARD DROP",
		begin: []string{"iptables-legacy -P FORWARD DROP", "ip6tables-legacy -P FORWARD DROP"},
		end:   []string{"iptables-legacy -P FORWARD ACCEPT", "ip6tables-legacy -P FORWARD ACCEPT"},
	},
	// The last, as there is no way back to what dockerd has made of it.
	{
		name: "iptables", title: "iptables -P FORWARD DROP",
		begin: []string{"iptables -P FORWARD DROP", "ip6tables -P FORWARD DROP"},
	},
	{name: "router", title: "A host that was a router before", router: "4 6"},
	{name: "router4", title: "A host that was a router of IPv4 alone", router: "4"},
}

// measured is what was found in one scenario, by row.
type measured map[string]cells

func TestReach(t *testing.T) {
	netns.Need(t)
	theirs, ours, before := map[string]measured{}, map[string]measured{}, map[string]measured{}
	var mu sync.Mutex
	t.Run("measure", func(t *testing.T) {
		for _, router := range []string{"", "4 6", "4"} {
			for _, side := range []struct {
				name  string
				start func(*world) engine
				into  map[string]measured
			}{{"docker", startDocker, theirs}, {"berth", startBerth, ours}} {
				t.Run(side.name, func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, router)
					was := w.measure(true)
					w.populate(side.start(w), router != "")
					for _, s := range scenarios {
						if s.router != router {
							continue
						}
						w.lines(w.host, s.begin...)
						if words := w.engine.look(); words != nil {
							w.do(words...)
						}
						found := w.measure(false)
						w.lines(w.host, s.end...)
						mu.Lock()
						side.into[s.name], before[s.name] = found, was
						mu.Unlock()
					}
				})
			}
		}
	})
	if t.Failed() {
		return
	}
	compare(t, theirs, ours, before)
	document(t, theirs, ours)
}

// compare holds every cell of ours against theirs; as a router, the host against
// what it was before, unless the administrator has closed it since.
func compare(t *testing.T, theirs, ours, before map[string]measured) {
	t.Helper()
	used := map[string]bool{}
	for _, s := range scenarios {
		for _, r := range rows {
			want, got := theirs[s.name][r.key()], ours[s.name][r.key()]
			for i := range got {
				if r.routed() && got[i] == before[s.name][r.key()][i] {
					continue
				}
				if got[i] == want[i] { // also where none was asked
					continue
				}
				if got[i] != shut {
					t.Errorf("%s: %s, %s: berth %s, dockerd %s", s.name, r.key(), kinds[i], got[i], want[i])
					continue
				}
				c := clauseOf(s.name, r, kinds[i])
				if c == nil {
					t.Errorf("%s: %s, %s: closed, by dockerd %s, and no clause says so", s.name, r.key(), kinds[i], want[i])
					continue
				}
				used[c.mark+r.key()] = true
			}
		}
	}
	for _, c := range clauses {
		for _, key := range c.rows {
			if !used[c.mark+key] {
				t.Errorf("clause %s: %s does not differ any more", c.mark, key)
			}
		}
	}
}
