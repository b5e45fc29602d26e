package option

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/pflag"
	"mvdan.cc/sh/v3/shell"

	"berth/cli/docker/command"
	"berth/container/config"
)

// verb is create without an engine: its flags, and what Read and Check say.
type verb struct {
	options Options
	around  Around
}

// frame makes it a verb of the frame's.
type frame struct{ *verb }

func (f frame) Flags(set *pflag.FlagSet)                           { f.options.Flags(set) }
func (f frame) Run(context.Context, *command.Call, []string) error { return nil }

func around(files map[string]string) Around {
	return Around{
		Getenv: func(k string) (string, bool) {
			v, ok := map[string]string{"HOME": "/home/me", "EMPTY": ""}[k]
			return v, ok
		},
		Environ: func() []string { return []string{"HOME=/home/me", "EMPTY="} },
		Abs:     func(p string) (string, error) { return "/here/" + strings.TrimPrefix(p, "./"), nil },
		Open: func(p string) (io.ReadCloser, error) {
			if text, ok := files[p]; ok {
				return io.NopCloser(strings.NewReader(text)), nil
			}
			return nil, &os.PathError{Op: "open", Path: p, Err: syscall.ENOENT}
		},
	}
}

// read is a command line of create, read as the verb does.
func read(d command.Dialect, files map[string]string, words ...string) (a Asked, err error) {
	v := &verb{around: around(files)}
	e := &command.Entry{Path: "create", Words: command.Count{Min: 1, Max: command.Many}, New: func() command.Verb { return frame{v} }}
	words, help, err := e.Make().Parse(d, "docker create", words)
	if err != nil || help {
		return Asked{}, err
	}
	if a, err = v.options.Read(d, v.around, words); err != nil {
		if command.IsFromEngine(err) {
			return a, err
		}
		return a, command.Refuse(&command.Call{Dialect: d, Program: "docker"}, "create", 125, err)
	}
	c := a.Config
	if c.Log.Driver == "" {
		c.Log.Driver = "json-file"
	}
	_, err = c.Check(config.Machine{CPUs: 2})
	return a, command.FromEngine(err)
}

// TestAsDocker types command lines at create and wants the answers that Docker
// 20.10.24 gave to them. Where ours is another on purpose, the file says
// "instead" with ours.
func TestAsDocker(t *testing.T) {
	data, err := os.ReadFile("testdata/create.txt")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"ef1": "#c\n\nA=1\n  B=2 \nC\nHOME\nD E=3\n", "ef2": "=x\n", "ef3": "\xff\xfe=x\n", "ef4": "\xef\xbb\xbfA=1\nA b=3\n",
		"lf1": "a=1\nb\n c = d \n#x\n", "/etc/passwd": "root:x:0:0\n",
	}
	cases := strings.Split(strings.TrimSpace(string(data)), "\ncreate ")
	for _, one := range cases {
		line, rest, _ := strings.Cut(strings.TrimPrefix(one, "create "), "\n")
		want := strings.TrimSpace(rest)
		if _, ours, ok := strings.Cut(rest, "\tinstead "); ok {
			want = strings.TrimSpace(ours)
		}
		words, err := shell.Fields(line, func(string) string { return "" })
		if err != nil {
			t.Fatal(err)
		}
		_, err = read(command.Docker, files, words...)
		var b bytes.Buffer
		code := command.Report(&b, command.Docker, err)
		first, _, _ := strings.Cut(b.String(), "\n")
		if got := strings.TrimSpace(fmt.Sprint(code, " ", first)); got != want {
			t.Errorf("create %s\ngot  %s\nwant %s", line, got, want)
		}
	}
}
