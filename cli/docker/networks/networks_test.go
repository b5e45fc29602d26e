package networks

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"berth/cli/docker/command"
)

func call(d command.Dialect) (*command.Call, *bytes.Buffer) {
	var out bytes.Buffer
	return &command.Call{Dialect: d, Program: "docker", Out: &out, Err: &out}, &out
}

func TestCreateRequest(t *testing.T) {
	for line, want := range map[string]string{
		"n": "", "--subnet 10.1.0.0/24 --gateway 10.1.0.9 n": "10.1.0.0/24 10.1.0.9 ",
		"--subnet 10.1.0.7/24 --ip-range 10.1.0.128/25 --aux-address a=10.1.0.5 n": "10.1.0.0/24  10.1.0.128/25 a=10.1.0.5",
		"--gateway 10.1.0.1 n":                                         "every ip-range or gateway must have a corresponding subnet",
		"--subnet x n":                                                 "Invalid subnet x : invalid CIDR address: x",
		"--subnet 10.1.0.0/24 --gateway 10.2.0.1 n":                    "no matching subnet for gateway 10.2.0.1",
		"--subnet 10.1.0.0/24 --ip-range 10.2.0.0/25 n":                "no matching subnet for range 10.2.0.0/25",
		"--subnet 10.1.0.0/24 --aux-address a=x n":                     "no matching subnet for aux-address x",
		"--subnet 10.1.0.0/24 --subnet 10.1.0.0/25 n":                  "multiple overlapping subnet configuration is not supported",
		"--subnet 10.1.0.0/24 --gateway 10.1.0.1 --gateway 10.1.0.2 n": "every ip-range or gateway must have a corresponding subnet",
		"--config-only n":                                              "--config-only is not served yet",
		"--scope swarm n":                                              "cannot create a swarm scoped network when swarm is not active",
	} {
		v := new(Create)
		e := &command.Entry{Path: "network create", Words: command.Count{Min: 1, Max: 1}, New: func() command.Verb { return v }}
		words, _, err := e.Make().Parse(command.Docker, "docker network create", strings.Fields(line))
		if err != nil {
			t.Fatal(err)
		}
		n, err := v.request(false, words)
		got := ""
		for _, s := range n.Subnets {
			got += s.Prefix.String() + " " + text(s.Gateway) + " " + text(s.Range)
			for k, a := range s.Aux {
				got += " " + k + "=" + a.String()
			}
		}
		if err != nil {
			got = err.Error()
		}
		if strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("network create %s: %q, want %q", line, got, want)
		}
	}
}

func oneNetwork() Network {
	return Network{
		ID: strings.Repeat("0123456789abcdef", 4), Name: "one", Driver: "bridge", Created: time.Date(2026, 11, 30, 15, 0, 0, 0, time.UTC),
		Labels:     map[string]string{"a": "b"},
		Subnets:    []Subnet{{Prefix: netip.MustParsePrefix("10.1.0.0/24"), Gateway: netip.MustParseAddr("10.1.0.1")}},
		Containers: []Use{{ID: "c0", Name: "web", EndpointID: "e0", MAC: "02:42:0a:01:00:02", IPv4: netip.MustParsePrefix("10.1.0.2/24")}},
	}
}

func TestList(t *testing.T) {
	for source, want := range map[string]string{
		"":                             "NETWORK ID     NAME      DRIVER    SCOPE\n0123456789ab   one       bridge    local\n",
		"{{.Name}} {{.Label \"a\"}}":   "one b\n",
		"raw":                          "network_id: 0123456789ab\nname: one\ndriver: bridge\nscope: local\n\n",
		"table {{.Name}}\t{{.Labels}}": "NAME      LABELS\none       a=b\n",
		"json": `{"CreatedAt":"2026-11-30 15:00:00 +0000 UTC","Driver":"bridge","ID":"0123456789ab","IPv6":"false","Internal":"false","Labels":"a=b",` +
			`"Name":"one","Scope":"local"}` + "\n",
	} {
		c, out := call(command.Docker)
		v := &List{format: source}
		if err := v.print(c, []Network{oneNetwork()}); err != nil || out.String() != want {
			t.Errorf("%q: %v\ngot  %q\nwant %q", source, err, out, want)
		}
	}
}
