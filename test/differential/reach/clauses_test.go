package reach

import (
	"slices"
	"strings"
)

// clause is a reason for which cells are closed that dockerd's are open.
type clause struct {
	mark, says string
	rows       []string // keys
	scenario   string   // the only one, if not empty
	family     string   // 6: of IPv6 alone
}

// The house has decided of each.
var clauses = []clause{
	{
		mark: "(a)", says: "a container's address is not reached from outside, at a published port either; dockerd lets published ports in, and all where the host was a router of IPv4",
		rows: slices.Concat(keys("first", "neighbour", "far", "side"), keys("web", "neighbour", "far", "side"), keys("other", "neighbour", "far"),
			keys("peer", "neighbour", "far", "side")),
	},
	{
		mark: "(b)", says: "what is for 127.0.0.0/8 and comes from another machine is dropped; dockerd rewrites it first",
		rows: slices.Concat(keys("host's loopback, 8080 (web)", "neighbour"), keys("host's loopback, 8081 (web)", "neighbour")),
	},
	{
		mark: "(c)", says: "from an internal network nothing comes to published ports; dockerd's proxy takes it where no rule does",
		rows:   slices.Concat(keys("host, 8001 (first)", "inner2"), keys("host by its address on network inside, 8001 (first)", "inner2")),
		family: "6",
	},
	{
		mark: "(d)", says: "what iptables-legacy drops stays dropped, and containers' way to published ports is forwarded; dockerd's proxy takes it",
		rows: slices.Concat(keys("host, 8001 (first)", "first", "second", "peer"), keys("host, 8080 (web)", "web", "peer", "second", "other"),
			keys("host's second address, 8080 (web)", "web", "peer"), keys("host by its address on network one, 8080 (web)", "web", "peer", "other"),
			keys("host by its address on the default bridge, 8080 (web)", "peer", "second"),
			keys("host by its address on network inside, 8001 (first)", "peer"),
			keys("host's second address, 8082 (web)", "web", "peer", "second", "other"), keys("host, 8083 (other)", "other", "peer")),
		scenario: "legacy",
	},
}

// keys are those of rows from several to one.
func keys(to string, from ...string) (list []string) {
	for _, f := range from {
		list = append(list, row{from: f, to: to}.key())
	}
	return list
}

// clauseOf is the one for which a cell may be closed; nil: none.
func clauseOf(scenario string, r row, kind string) *clause {
	for i, c := range clauses {
		if slices.Contains(c.rows, r.key()) && (c.scenario == "" || c.scenario == scenario) && strings.HasSuffix(kind, c.family) {
			return &clauses[i]
		}
	}
	return nil
}
