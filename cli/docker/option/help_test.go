package option

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// newOptions are the options of run with their flags.
func newOptions(t *testing.T) (*Options, *pflag.FlagSet) {
	t.Helper()
	o := &Options{Run: true}
	f := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.Usage = func() {}
	o.Flags(f)
	return o, f
}

func TestFlagsHaveUsage(t *testing.T) {
	_, f := newOptions(t)
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Usage == "" || strings.HasSuffix(flag.Usage, ".") {
			t.Errorf("--%s: %q", flag.Name, flag.Usage)
		}
	})
}

func flagNames(f *pflag.FlagSet) []string {
	var names []string
	f.VisitAll(func(flag *pflag.Flag) { names = append(names, flag.Name) })
	return names
}
