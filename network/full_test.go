package network

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"berth/base/fault"
)

// A bridge has as many ports as the kernel gives it: who comes then is told so before
// anything is made for him.
func TestFullBridgeEarly(t *testing.T) {
	w := newWorld(t, Settings{})
	const most = 1023
	var lines strings.Builder
	fmt.Fprintln(&lines, "link add full0 type bridge\naddress add 10.77.0.1/16 dev full0\nlink set full0 up")
	for i := range (most - 1) / 2 {
		fmt.Fprintf(&lines, "link add fa%d master full0 type veth peer name fb%d\nlink set fb%d master full0\n", i, i, i)
	}
	file := t.TempDir() + "/lines"
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for i := range (most - 1) / 2 {
			_, _ = fmt.Fprintf(&lines, "link delete fa%d\n", i)
		}
		_, gone, _ := strings.Cut(lines.String(), "link delete")
		if err := os.WriteFile(file, []byte("link delete"+gone+"link delete full0\n"), 0o600); err != nil {
			t.Error(err)
		}
		host(t, "ip -batch "+file)
	})
	host(t, "ip -batch "+file)
	w.create(Network{Name: "full", Options: map[string]string{optionName: "full0"}, Subnets: subnet("10.77.0.0/16")})
	w.run(Request{Endpoints: on("full")})
	before := host(t, "ip -o -br link")
	g, err := w.try(Request{Endpoints: on("full")})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "make another network") {
		t.Fatalf("one more than %d: %v", most, err)
	}
	if now := host(t, "ip -o -br link"); now != before {
		t.Error("devices were made")
	}
	if list, err := w.s.files.Names("endpoints"); err != nil || len(list) != 1 {
		t.Errorf("%v is left of %s, %v", list, g.id, err)
	}
	if _, err := os.Stat(w.root + "/run/network/endpoints/" + string(g.id) + ".json"); !os.IsNotExist(err) {
		t.Errorf("its file is there: %v", err)
	}
}
