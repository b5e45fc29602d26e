package names

import "strings"

// Entry is a container on a network, for those who ask: a file of lines.
type Entry struct {
	Boot      string
	Addresses []string
	// Names are those by which it is found; the first is also what its addresses
	// lead back to.
	Names []string
}

// Text is the file.
func (e *Entry) Text() string {
	var b strings.Builder
	line(&b, "boot", e.Boot)
	for _, a := range e.Addresses {
		line(&b, "address", a)
	}
	for _, n := range e.Names {
		line(&b, "name", n)
	}
	return b.String()
}

// ParseEntry reads one; what it does not understand it leaves out.
func ParseEntry(text string) Entry {
	var e Entry
	each(text, func(word, rest string) {
		switch word {
		case "boot":
			e.Boot = rest
		case "address":
			e.Addresses = append(e.Addresses, rest)
		case "name":
			e.Names = append(e.Names, rest)
		}
	})
	return e
}

// View is what a container that asks may know: a file of lines.
type View struct {
	Boot string
	// Outside: it is on a network that leads out, so servers may be asked.
	Outside bool
	// Dotted: names of one word are asked of nobody else, as with Docker where
	// ndots was given.
	Dotted bool
	// Networks are those whose names it knows, the first one first.
	Networks []ViewNetwork
	// Servers are asked instead of the host's.
	Servers []string
}

// ViewNetwork is one network of a View.
type ViewNetwork struct {
	ID, Name string
	Subnets  []string
	Links    []ViewLink
}

// ViewLink is a name that the container alone has for another one on that network,
// which it calls by a name of it or its whole id.
type ViewLink struct{ Alias, Target string }

// Text is the file.
func (v *View) Text() string {
	var b strings.Builder
	line(&b, "boot", v.Boot)
	if v.Outside {
		line(&b, "outside", "")
	}
	if v.Dotted {
		line(&b, "dotted", "")
	}
	for _, n := range v.Networks {
		line(&b, "network", n.ID+" "+n.Name)
		for _, s := range n.Subnets {
			line(&b, "subnet", s)
		}
		for _, l := range n.Links {
			line(&b, "link", l.Target+" "+l.Alias)
		}
	}
	for _, s := range v.Servers {
		line(&b, "server", s)
	}
	return b.String()
}

// ParseView reads one; what it does not understand it leaves out.
func ParseView(text string) View {
	var v View
	each(text, func(word, rest string) {
		var n *ViewNetwork // the last one
		if len(v.Networks) > 0 {
			n = &v.Networks[len(v.Networks)-1]
		}
		switch word {
		case "boot":
			v.Boot = rest
		case "outside":
			v.Outside = true
		case "dotted":
			v.Dotted = true
		case "network":
			id, name, _ := strings.Cut(rest, " ")
			v.Networks = append(v.Networks, ViewNetwork{ID: id, Name: name})
		case "subnet":
			if n != nil {
				n.Subnets = append(n.Subnets, rest)
			}
		case "link":
			if target, alias, ok := strings.Cut(rest, " "); ok && n != nil {
				n.Links = append(n.Links, ViewLink{Alias: alias, Target: target})
			}
		case "server":
			v.Servers = append(v.Servers, rest)
		}
	})
	return v
}

// line appends a line; what would end it early is left out.
func line(b *strings.Builder, word, rest string) {
	if strings.ContainsAny(rest, "\n\x00") {
		return
	}
	b.WriteString(word)
	if rest != "" {
		b.WriteString(" " + rest)
	}
	b.WriteByte('\n')
}

// each calls f for each line: its first word, and what follows.
func each(text string, f func(word, rest string)) {
	for l := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSuffix(l, "\n"), " ")
		f(word, rest)
	}
}

// fold is a name as it is compared: small letters, no dot at the end.
func fold(name string) string {
	name = strings.TrimSuffix(name, ".")
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' {
			b := []byte(name)
			for j := i; j < len(b); j++ {
				if 'A' <= b[j] && b[j] <= 'Z' {
					b[j] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return name
}
