package order

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for line, want := range map[string]Order{
		"":                  {MTU: MTU},
		"--host":            {MTU: MTU, Host: true},
		"--mtu 1500":        {MTU: 1500},
		"--mtu 1280 --host": {MTU: 1280, Host: true},
		"--help":            {MTU: MTU, Help: true},
		"--version":         {MTU: MTU, Version: true},
	} {
		got, err := Parse(strings.Fields(line))
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", line, got, err, want)
		}
		if want.Help || want.Version {
			continue
		}
		if back, err := Parse(want.Arguments()); err != nil || back != want {
			t.Errorf("%+v went as %q and came back as %+v, %v", want, want.Arguments(), back, err)
		}
	}
	for _, line := range []string{"--mtu", "--mtu x", "--mtu 1279", "--mtu 65536", "--mtu=1500", "-x", "word", "--host --mtu -1"} {
		if o, err := Parse(strings.Fields(line)); err == nil {
			t.Errorf("%q: %+v", line, o)
		}
	}
}
