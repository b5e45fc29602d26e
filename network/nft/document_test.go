package nft

import (
	"flag"
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
	text := string(was)
	for _, family := range []string{"inet", "bridge"} {
		listed, err := netns.Run("nft", "list", "table", family, Table)
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
