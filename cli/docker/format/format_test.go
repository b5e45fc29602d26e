package format

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"berth/cli/term"
)

type row struct{ ID, Name string }

var (
	head = row{"IMAGE ID", "NAME"}
	rows = []row{{"abc", "<none>"}, {"defghijklmnop", "b"}}
)

func TestRows(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{"", "IMAGE ID        NAME\nabc             <none>\ndefghijklmnop   b\n"},
		{"table", "IMAGE ID        NAME\nabc             <none>\ndefghijklmnop   b\n"},
		{`table {{.Name}}\t{{upper .ID}}`, "NAME      IMAGE ID\n<none>    ABC\nb         DEFGHIJKLMNOP\n"},
		{`{{.ID}}\t{{.Name}}`, "abc\t<none>\ndefghijklmnop\tb\n"},
		{"{{json .}}", `{"ID":"abc","Name":"\u003cnone\u003e"}` + "\n" + `{"ID":"defghijklmnop","Name":"b"}` + "\n"},
		{"json", `{"ID":"abc","Name":"\u003cnone\u003e"}` + "\n" + `{"ID":"defghijklmnop","Name":"b"}` + "\n"},
		{"{{json .Name}}", "\"<none>\"\n\"b\"\n"},
		{"{{truncate .ID 4}}|{{pad .Name 1 2}}|{{title .Name}}", "abc| <none>  |<None>\ndefg| b  |B\n"},
		{`{{join (split .ID "b") "-"}} {{println .Name}}`, "a-c <none>\n\ndefghijklmnop b\n\n"},
		{"raw", "id: abc\nid: defghijklmnop\n"},
	} {
		var b bytes.Buffer
		f := Form{Source: c.source, Table: "{{.ID}}\t{{.Name}}", Raw: "id: {{.ID}}", Style: term.DockerStyle}
		if err := Rows(&b, f, head, rows); err != nil || b.String() != c.want {
			t.Errorf("%s: %v\ngot  %q\nwant %q", c.source, err, b.String(), c.want)
		}
	}
}

func TestRowsErrors(t *testing.T) {
	for source, want := range map[string]string{
		"{{.Bad":    "template parsing error: template: :1: unclosed action",
		"{{.Nope}}": "template parsing error: template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type",
	} {
		var b bytes.Buffer
		err := Rows(&b, Form{Source: source}, head, rows)
		if err == nil || !strings.HasPrefix(err.Error(), want) || b.Len() > 0 {
			t.Errorf("%s: %v, printed %q", source, err, b.String())
		}
	}
}

func TestPodmanList(t *testing.T) {
	var b bytes.Buffer
	if err := Rows(&b, Form{Source: "json", JSONList: "    "}, head, nil); err != nil || b.String() != "[]\n" {
		t.Errorf("%v %q", err, b.String())
	}
}

func TestValue(t *testing.T) {
	v := struct {
		ID   string `json:"Id"`
		Size int64
		Cmd  []string
	}{"x", 1 << 40, []string{"a", "<b>"}}
	for source, want := range map[string]string{
		"{{.Id}}":                     "x\n",
		"{{.Size}}":                   "1099511627776\n",
		"{{.Id}} {{.Size}}":           "x 1099511627776\n",
		"{{json .Cmd}}":               "[\"a\",\"<b>\"]\n",
		"json":                        "{\"Id\":\"x\",\"Size\":1099511627776,\"Cmd\":[\"a\",\"<b>\"]}\n",
		"{{range .Cmd}}-{{.}}{{end}}": "-a-<b>\n",
	} {
		var b bytes.Buffer
		if err := Value(&b, source, v); err != nil || b.String() != want {
			t.Errorf("%s: %v %q", source, err, b.String())
		}
	}
	err := Value(&bytes.Buffer{}, "{{.Foo}}", v)
	if err == nil || err.Error() != `template parsing error: template: :1:2: executing "" at <.Foo>: map has no entry for key "Foo"` {
		t.Errorf("missing key: %v", err)
	}
}

func FuzzJSON(f *testing.F) {
	f.Add("a\u009b\u202e\U000e0001\x7f<")
	f.Fuzz(func(t *testing.T, s string) {
		data, err := marshal(s, false)
		if err != nil {
			t.Fatal(err)
		}
		if got := term.Clean(string(data)); got != string(data) {
			t.Errorf("%q is not harmless", data)
		}
		var back string
		if err := json.Unmarshal(data, &back); err != nil || back != strings.ToValidUTF8(s, "\ufffd") && strings.ToValidUTF8(s, "") == s {
			t.Errorf("%q reads back as %q: %v", data, back, err)
		}
	})
}
