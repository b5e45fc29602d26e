package trust

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEdit(t *testing.T) {
	const old = `# who may come in
default = "accept"   # for now

# the team
[[rule]]
prefix = "q.io/team"
action = "signed"
keys = [
  "a.pub",
]

# never
[[rule]]
prefix = "bad.io"
action = "reject"
`
	for _, c := range []struct {
		raw  string
		e    Entry
		want string
	}{
		{"", Entry{Prefix: DefaultScope, Action: Reject}, "default = \"reject\"\n"},
		{"", Entry{Prefix: "q.io", Action: Accept}, "[[rule]]\nprefix = \"q.io\"\naction = \"accept\"\n"},
		{old, Entry{Prefix: DefaultScope, Action: Reject}, `# who may come in
default = "reject"

# the team
[[rule]]
prefix = "q.io/team"
action = "signed"
keys = [
  "a.pub",
]

# never
[[rule]]
prefix = "bad.io"
action = "reject"
`},
		{old, Entry{Prefix: "q.io/team", Action: Signed, Keys: []string{"/b.pub", "c.pub"}}, `# who may come in
default = "accept"   # for now

# the team
[[rule]]
prefix = "q.io/team"
action = "signed"
keys = ["/b.pub", "c.pub"]

# never
[[rule]]
prefix = "bad.io"
action = "reject"
`},
		{old, Entry{Prefix: "bad.io", Action: Accept}, old[:len(old)-len("\"reject\"\n")] + "\"accept\"\n"},
		{old, Entry{Prefix: "new.io", Action: Reject}, old + "\n[[rule]]\nprefix = \"new.io\"\naction = \"reject\"\n"},
		{"[[rule]]\nprefix = \"x.io\"\naction = \"reject\"", Entry{Prefix: DefaultScope, Action: Accept}, "default = \"accept\"\n\n[[rule]]\nprefix = \"x.io\"\naction = \"reject\""},
	} {
		got, err := Edit([]byte(c.raw), c.e)
		if diff := cmp.Diff(c.want, string(got)); diff != "" || err != nil {
			t.Errorf("%+v: %v\n%s", c.e, err, diff)
		}
		entries, err := Entries(got)
		found := false
		for _, e := range entries {
			found = found || cmp.Equal(e, c.e)
		}
		if err != nil || !found {
			t.Errorf("%+v is not among %+v, %v", c.e, entries, err)
		}
	}
	if _, err := Edit(nil, Entry{Prefix: DefaultScope, Action: Signed}); err == nil {
		t.Error("a default that is signed")
	}
}

// FuzzEdit: whatever the file, what comes out is a policy with the rule and
// all others, or no policy before either.
func FuzzEdit(f *testing.F) {
	f.Add("default = \"accept\"\n[[rule]]\nprefix = \"a.io\"\naction = \"reject\"\n")
	f.Add("# x\n[[rule]]\nprefix = 'q.io'\naction = \"pinned\"\ndigests = [\n\"sha256:00\"]\n")
	f.Fuzz(func(t *testing.T, text string) {
		before, err := Entries([]byte(text))
		if err != nil {
			return
		}
		want := Entry{Prefix: "q.io", Action: Reject}
		got, err := Edit([]byte(text), want)
		if err != nil {
			t.Fatal(err)
		}
		after, err := Entries(got)
		if err != nil {
			t.Skip("the caller refuses it") // ParsePolicy
		}
		n := 0
		for _, e := range after {
			if cmp.Equal(e, want) {
				n++
			}
		}
		if n == 0 || len(after) < len(before) {
			t.Errorf("%q\nbecame %q", text, got)
		}
	})
}
