package reach

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/reach.md anew")

const file = "../../../docs/reach.md"

// document holds docs/reach.md against what was measured.
func document(t *testing.T, theirs, ours map[string]measured) {
	t.Helper()
	was, err := os.ReadFile(file)
	if err != nil && !*update {
		t.Fatal(err)
	}
	text := write(theirs, ours)
	if text == string(was) {
		return
	}
	if !*update {
		at := 0
		for at < min(len(text), len(was)) && text[at] == was[at] {
			at++
		}
		end := func(s string) string { return s[:min(len(s), 200)] }
		start := strings.LastIndexByte(text[:at], '\n') + 1
		t.Errorf("docs/reach.md is not what was measured; go test ./test/differential/reach -update, and read what changed\nmeasured:\n%s\nthere:\n%s",
			end(text[start:]), end(string(was)[start:]))
		return
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const head = `# Who reaches whom

Measured by ` + "`go test ./test/differential/reach`" + `, which compares every cell with Debian's dockerd (20.10, with ` + "`--ip6tables`" + `) in the same
place and holds this page against what it finds (` + "`-update`" + ` writes it anew). Each line is asked by TCP and UDP; the rules behind it are in
[firewall.md](firewall.md).

A cell without a mark is dockerd's, too. No cell is open that is closed with dockerd. A mark says why a cell is closed that is open with
dockerd:

`

const foot = `
A datagram counts as dockerd's to have been let through if it is answered from another address, too, as by its proxy. Lines by way of the host
are held against the host before any engine came: dockerd forwards no IPv6 there even if it was a router. ` + "`net.bridge.bridge-nf-call-*`" + ` is off.
`

func write(theirs, ours map[string]measured) string {
	var b strings.Builder
	b.WriteString(head)
	b.WriteString("| mark | |\n|---|---|\n")
	for _, c := range clauses {
		fmt.Fprintf(&b, "| %s | %s |\n", c.mark, c.says)
	}
	b.WriteString("\n## Who\n\n| | |\n|---|---|\n")
	for _, p := range places {
		fmt.Fprintf(&b, "| %s | %s |\n", p.name, p.says)
	}
	for _, c := range containers {
		fmt.Fprintf(&b, "| %s | %s |\n", c.name, c.says)
	}
	b.WriteString("\nNetworks one and two have IPv4 and IPv6. A container is asked at port 80, which is not published unless a line says so.\n" + foot)
	plain := scenarios[0].name
	for i, s := range scenarios {
		fmt.Fprintf(&b, "\n## %s\n\n", s.title)
		if len(s.begin) > 0 {
			fmt.Fprintf(&b, "```\n%s\n```\n\n", strings.Join(s.begin, "\n"))
		}
		var lines strings.Builder
		for _, r := range rows {
			if _, asked := ours[s.name][r.key()]; !asked {
				continue
			}
			line := r.line(s.name, theirs, ours)
			if i == 0 || line != r.line(plain, theirs, ours) {
				lines.WriteString(line)
			}
		}
		if lines.Len() == 0 {
			b.WriteString("Nothing differs from a host as it is installed.\n")
			continue
		}
		if i > 0 {
			b.WriteString("What differs from a host as it is installed:\n\n")
		}
		b.WriteString("| from | to | IPv4 | IPv6 |\n|---|---|---|---|\n" + lines.String())
	}
	return b.String()
}

// line is a row of the document.
func (r row) line(scenario string, theirs, ours map[string]measured) string {
	want, got := theirs[scenario][r.key()], ours[scenario][r.key()]
	cell := func(i int) string {
		if got[i] == want[i] || r.routed() {
			return got[i]
		}
		if c := clauseOf(scenario, r, kinds[i]); c != nil {
			return got[i] + " " + c.mark
		}
		return got[i] + ", dockerd " + want[i]
	}
	family := func(i int) string {
		tcp, udp := cell(i), cell(i+1)
		if tcp == udp {
			return tcp
		}
		return "tcp " + tcp + ", udp " + udp
	}
	return fmt.Sprintf("| %s | %s | %s | %s |\n", r.from, r.to, family(0), family(2))
}
