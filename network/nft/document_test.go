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
	inside := &Conn{c.c, NamesTable, ""}
	if err := inside.Turn(Turns{netip.MustParseAddr("127.0.0.11"), 53, 35353, 45454}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = netns.Run("nft", "delete", "table", "ip", NamesTable) })
	text := string(was)
	for _, family := range []string{"inet", "bridge", "ip"} {
		table := Table
		if family == "ip" {
			table = NamesTable
		}
		listed, err := netns.Run("nft", "list", "table", family, table)
		if err != nil {
			t.Fatal(err)
		}
		head, rest, ok := strings.Cut(text, "## "+family+"\n\n```\n")
		if !ok {
			t.Fatalf("no place for %s in %s", family, file)
		}
		_, tail, _ := strings.Cut("\n"+rest, "\n```\n")
		text = head + "## " + family + "\n\n```\n" + strings.TrimSpace(listed) + "\n```\n" + tail
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
