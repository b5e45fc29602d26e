package option

import (
	"slices"

	"github.com/spf13/pflag"

	"berth/cli/docker/command"
)

// Meta is what update changes of a container besides its limits; docker has none
// of these flags.
type Meta struct{ labels, noLabels, env, unset []string }

// Flags adds them.
func (m *Meta) Flags(f *pflag.FlagSet) {
	f.VarP(listed(&m.labels, checkLabel), "label", "l", "Set or change a label")
	f.Var(listed(&m.noLabels, nil), "label-rm", "Remove a label by its key")
	f.VarP(listed(&m.env, checkVariable), "env", "e", "Set an environment variable for the next start")
	f.Var(listed(&m.unset, nil), "unsetenv", "Unset an environment variable for the next start")
	command.Extra(f, "label", "label-rm", "env", "unsetenv")
}

// Value is what they ask for: labels, keys of labels to remove, and variables, of
// which a bare name is to be removed.
func (m *Meta) Value(a Around) (labels map[string]string, noLabels, env []string, err error) {
	set, err := a.Variables(nil, m.env)
	if err != nil {
		return nil, nil, nil, err
	}
	return mapOf(m.labels), m.noLabels, slices.Concat(m.unset, set), nil
}
