package nft

import (
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"

	"berth/test/netns"
)

var update = flag.Bool("update", false, "write docs/firewall.md anew")

// docs/firewall.md shows the table as the kernel has it.
func TestDocument(t *testing.T) {
	c := open(t)
	if err := c.Install(example()); err != nil {
		t.Fatal(err)
	}
	const file = "../../docs/firewall.md"
	was, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	inside := &Conn{c: c.c, table: NamesTable}
	if err := inside.Turn(Turns{netip.MustParseAddr("127.0.0.11"), 53, 35353, 45454}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = netns.Run("nft", "delete", "table", "ip", NamesTable) })
	text := string(was)
	list := func(words ...string) string {
		t.Helper()
		out, err := netns.Run("nft", append([]string{"list"}, words...)...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	usual, bridge, names := list("table", "inet", Table), list("table", "bridge", Table), list("table", "ip", NamesTable)
	c.Relays = true
	if err := c.Install(example()); err != nil {
		t.Fatal(err)
	}
	more := list("table", "inet", Table)
	for _, l := range strings.Split(usual, "\n") {
		if !strings.Contains(more, l) {
			t.Errorf("an ordinary user's firewall lacks %q", l)
		}
	}
	for _, one := range [][2]string{{"inet", usual}, {"bridge", bridge}, {"ip", names}, {"relays", list("chain", "inet", Table, "relay") + "\n" + list("chain", "inet", Table, "back")}} {
		family, listed := one[0], one[1]
		head, rest, ok := strings.Cut(text, "## "+family+"\n\n```\n")
		if !ok {
			t.Fatalf("no place for %s in %s", family, file)
		}
		_, tail, _ := strings.Cut("\n"+rest, "\n```\n")
		text = head + "## " + family + "\n\n```\n" + listed + "\n```\n" + tail
	}
	if text == string(was) {
		return
	}
	if !*update {
		t.Errorf("%s is not what the kernel has; go test ./network/nft -update, and read what changed", file)
		return
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
